-- What the query planner is to believe of the sizes, so that it plans for a full index from the first row on:
-- rows, then rows per value of the first column, of the first two, and so on. Above all: a tenant is most of it all.
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
    ('executions', 'sqlite_autoindex_executions_1', '1000000 1000000 1'),
    ('executions', 'executions_by_date', '1000000 1000000 2 2 2 2 2 2 2 1'),
    ('executions', 'executions_by_flow', '1000000 1000000 100000 10000 2'),
    ('executions', 'executions_by_parent', '10000 10000 10'),
    ('executions_totals', 'executions_totals', '1000 1000 100 4 2 1'),
    ('executions_labels', 'executions_labels', '2000000 2000000 1000000 50 1'),
    ('task_runs', 'sqlite_autoindex_task_runs_1', '2000000 2000000 1'),
    ('task_runs', 'task_runs_by_execution', '2000000 2000000 10 1'),
    ('events', 'events', '10000000 10000000 20 1'),
    ('logs', 'logs_by_execution', '10000000 10000000 100 2'),
    ('logs', 'logs_by_date', '10000000 10000000 2 2 2 1'),
    ('metrics', 'metrics_by_execution', '1000000 1000000 10 1'),
    ('metrics', 'metrics_by_flow', '1000000 1000000 100000 10000 1000 2 1');
