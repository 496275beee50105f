-- The tables of the embedded index; columns follow flowtide.index.kinds, a test compares them.
-- Dates are microseconds since 1970. `labels` is a JSON list of [key, value]; <kind>_labels has a row
-- for each, written after the document and removed by triggers when the document changes or goes.
-- `row` is a key of our own so that it outlives VACUUM; for logs and metrics it is the position on the log.

-- Execution headers. By date: lists, counts and histograms (the index covers them). By flow: a flow's page.
CREATE TABLE IF NOT EXISTS executions (
    row INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    flow_id TEXT NOT NULL,
    flow_revision INTEGER NOT NULL,
    state_current TEXT NOT NULL,
    state_start_date INTEGER NOT NULL,
    state_end_date INTEGER,
    duration_seconds REAL,
    kind TEXT,
    parent_id TEXT,
    original_id TEXT,
    trigger_id TEXT,
    schedule_date INTEGER,
    labels TEXT,
    body BLOB NOT NULL,
    UNIQUE (tenant, id)
);
CREATE INDEX IF NOT EXISTS executions_by_date
    ON executions (
        tenant, state_start_date, state_current, namespace, flow_id, kind, duration_seconds, state_end_date, id);
CREATE INDEX IF NOT EXISTS executions_by_flow ON executions (tenant, namespace, flow_id, state_start_date);
CREATE INDEX IF NOT EXISTS executions_by_parent ON executions (tenant, parent_id) WHERE parent_id IS NOT NULL;

-- How many executions there are of each flow, state and kind: what lists count, without a look at each of them.
CREATE TABLE IF NOT EXISTS executions_totals (
    tenant TEXT NOT NULL, namespace TEXT NOT NULL, flow_id TEXT NOT NULL, state_current TEXT NOT NULL,
    kind TEXT, kind_key TEXT NOT NULL, total INTEGER NOT NULL,
    PRIMARY KEY (tenant, namespace, flow_id, state_current, kind_key)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS executions_added AFTER INSERT ON executions BEGIN
    INSERT INTO executions_totals
        VALUES (new.tenant, new.namespace, new.flow_id, new.state_current, new.kind, ifnull(new.kind, ''), 1)
        ON CONFLICT DO UPDATE SET total = total + 1;
END;
CREATE TRIGGER IF NOT EXISTS executions_removed AFTER DELETE ON executions BEGIN
    UPDATE executions_totals SET total = total - 1
        WHERE (tenant, namespace, flow_id, state_current, kind_key)
            = (old.tenant, old.namespace, old.flow_id, old.state_current, ifnull(old.kind, ''));
    DELETE FROM executions_totals
        WHERE (tenant, namespace, flow_id, state_current, kind_key)
            = (old.tenant, old.namespace, old.flow_id, old.state_current, ifnull(old.kind, '')) AND total = 0;
END;
CREATE TRIGGER IF NOT EXISTS executions_changed AFTER UPDATE ON executions
    WHEN (old.namespace, old.flow_id, old.state_current, ifnull(old.kind, ''))
        <> (new.namespace, new.flow_id, new.state_current, ifnull(new.kind, '')) BEGIN
    UPDATE executions_totals SET total = total - 1
        WHERE (tenant, namespace, flow_id, state_current, kind_key)
            = (old.tenant, old.namespace, old.flow_id, old.state_current, ifnull(old.kind, ''));
    DELETE FROM executions_totals
        WHERE (tenant, namespace, flow_id, state_current, kind_key)
            = (old.tenant, old.namespace, old.flow_id, old.state_current, ifnull(old.kind, '')) AND total = 0;
    INSERT INTO executions_totals
        VALUES (new.tenant, new.namespace, new.flow_id, new.state_current, new.kind, ifnull(new.kind, ''), 1)
        ON CONFLICT DO UPDATE SET total = total + 1;
END;

-- Who carries which label.
CREATE TABLE IF NOT EXISTS executions_labels (
    tenant TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, row INTEGER NOT NULL,
    PRIMARY KEY (tenant, key, value, row)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS executions_relabelled AFTER UPDATE ON executions WHEN old.labels IS NOT new.labels BEGIN
    DELETE FROM executions_labels WHERE tenant = old.tenant AND row = old.row AND (key, value) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(old.labels));
END;
CREATE TRIGGER IF NOT EXISTS executions_unlabelled AFTER DELETE ON executions WHEN old.labels IS NOT NULL BEGIN
    DELETE FROM executions_labels WHERE tenant = old.tenant AND row = old.row AND (key, value) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(old.labels));
END;

-- Free text over ids: parts of them by trigrams. An id never changes, so only inserts and deletes count.
CREATE VIRTUAL TABLE IF NOT EXISTS executions_words USING fts5 (
    id, content='executions', content_rowid='row', tokenize='trigram', detail='none', columnsize=0);
CREATE TRIGGER IF NOT EXISTS executions_worded AFTER INSERT ON executions BEGIN
    INSERT INTO executions_words (rowid, id) VALUES (new.row, new.id);
END;
CREATE TRIGGER IF NOT EXISTS executions_unworded AFTER DELETE ON executions BEGIN
    INSERT INTO executions_words (executions_words, rowid, id) VALUES ('delete', old.row, old.id);
END;

-- Task runs, read by execution in the order of their creation.
CREATE TABLE IF NOT EXISTS task_runs (
    row INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    execution_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    flow_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    parent_task_run_id TEXT,
    state_current TEXT NOT NULL,
    state_start_date INTEGER NOT NULL,
    state_end_date INTEGER,
    duration_seconds REAL,
    value TEXT,
    iteration INTEGER,
    last_event INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (tenant, id)
);
CREATE INDEX IF NOT EXISTS task_runs_by_execution ON task_runs (tenant, execution_id, ordinal);

-- Events, kept together by execution.
CREATE TABLE IF NOT EXISTS events (
    tenant TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    version INTEGER NOT NULL,
    type TEXT NOT NULL,
    at INTEGER NOT NULL,
    run_id TEXT,
    state TEXT,
    cause_event INTEGER,
    body BLOB NOT NULL,
    PRIMARY KEY (tenant, execution_id, number)
) WITHOUT ROWID;

-- Log lines in the order of the log.
CREATE TABLE IF NOT EXISTS logs (
    row INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    version INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    flow_id TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    level TEXT NOT NULL,
    execution_id TEXT,
    task_id TEXT,
    task_run_id TEXT,
    attempt_number INTEGER,
    trigger_id TEXT,
    execution_kind TEXT,
    message TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS logs_by_execution ON logs (tenant, execution_id, timestamp);
CREATE INDEX IF NOT EXISTS logs_by_date ON logs (tenant, timestamp, level, namespace, flow_id);
CREATE VIRTUAL TABLE IF NOT EXISTS logs_words USING fts5 (
    message, content='logs', content_rowid='row', tokenize='unicode61', detail='none', columnsize=0);
CREATE TRIGGER IF NOT EXISTS logs_worded AFTER INSERT ON logs BEGIN
    INSERT INTO logs_words (rowid, message) VALUES (new.row, new.message);
END;
CREATE TRIGGER IF NOT EXISTS logs_unworded AFTER DELETE ON logs BEGIN
    INSERT INTO logs_words (logs_words, rowid, message) VALUES ('delete', old.row, old.message);
END;

-- Metrics in the order of the log.
CREATE TABLE IF NOT EXISTS metrics (
    row INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    version INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    flow_id TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    task_run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    value REAL NOT NULL,
    timestamp INTEGER NOT NULL,
    execution_kind TEXT,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS metrics_by_execution ON metrics (tenant, execution_id, timestamp);
CREATE INDEX IF NOT EXISTS metrics_by_flow ON metrics (tenant, namespace, flow_id, name, timestamp, value);

-- Flows: the latest revision of each.
CREATE TABLE IF NOT EXISTS flows (
    row INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    doc TEXT NOT NULL,
    version INTEGER NOT NULL,
    id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    revision INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    description TEXT,
    labels TEXT,
    body BLOB NOT NULL,
    UNIQUE (tenant, doc)
);
CREATE TABLE IF NOT EXISTS flows_labels (
    tenant TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, row INTEGER NOT NULL,
    PRIMARY KEY (tenant, key, value, row)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS flows_relabelled AFTER UPDATE ON flows WHEN old.labels IS NOT new.labels BEGIN
    DELETE FROM flows_labels WHERE tenant = old.tenant AND row = old.row AND (key, value) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(old.labels));
END;
CREATE TRIGGER IF NOT EXISTS flows_unlabelled AFTER DELETE ON flows WHEN old.labels IS NOT NULL BEGIN
    DELETE FROM flows_labels WHERE tenant = old.tenant AND row = old.row AND (key, value) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(old.labels));
END;

-- Audit entries.
CREATE TABLE IF NOT EXISTS audit_logs (
    row INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    doc TEXT NOT NULL,
    version INTEGER NOT NULL,
    id TEXT NOT NULL,
    date INTEGER NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_type TEXT,
    actor_ip_address TEXT,
    actor_impersonated_by TEXT,
    detail_id TEXT,
    namespace TEXT,
    labels TEXT,
    body BLOB NOT NULL,
    UNIQUE (tenant, doc)
);
CREATE INDEX IF NOT EXISTS audit_logs_by_date ON audit_logs (tenant, date);
CREATE INDEX IF NOT EXISTS audit_logs_by_detail ON audit_logs (tenant, detail_id, date);
CREATE TABLE IF NOT EXISTS audit_logs_labels (
    tenant TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, row INTEGER NOT NULL,
    PRIMARY KEY (tenant, key, value, row)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS audit_logs_relabelled AFTER UPDATE ON audit_logs WHEN old.labels IS NOT new.labels BEGIN
    DELETE FROM audit_logs_labels WHERE tenant = old.tenant AND row = old.row AND (key, value) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(old.labels));
END;
CREATE TRIGGER IF NOT EXISTS audit_logs_unlabelled AFTER DELETE ON audit_logs WHEN old.labels IS NOT NULL BEGIN
    DELETE FROM audit_logs_labels WHERE tenant = old.tenant AND row = old.row AND (key, value) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(old.labels));
END;

-- Triggers as they last were.
CREATE TABLE IF NOT EXISTS triggers (
    row INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    doc TEXT NOT NULL,
    version INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    flow_id TEXT NOT NULL,
    trigger_id TEXT NOT NULL,
    flow_revision INTEGER NOT NULL,
    type TEXT NOT NULL,
    disabled INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    date INTEGER,
    next_execution_date INTEGER,
    execution_id TEXT,
    body BLOB NOT NULL,
    UNIQUE (tenant, doc)
);

-- Servers as they last were.
CREATE TABLE IF NOT EXISTS services (
    row INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    doc TEXT NOT NULL,
    version INTEGER NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    state TEXT NOT NULL,
    host TEXT NOT NULL,
    release TEXT NOT NULL,
    started INTEGER NOT NULL,
    heartbeat INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (tenant, doc)
);
