-- The database of the embedded log.  A record's position is its partition's id shifted by 40 bits plus its offset,
-- so that a partition is one range of the table and an append lands at the end of that range.

CREATE TABLE IF NOT EXISTS topics (
    name TEXT PRIMARY KEY,
    cleanup TEXT NOT NULL               -- 'delete' or 'compact'
);

CREATE TABLE IF NOT EXISTS partitions (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL REFERENCES topics (name),
    number INTEGER NOT NULL,
    UNIQUE (topic, number)
);

CREATE TABLE IF NOT EXISTS records (
    position INTEGER PRIMARY KEY,       -- partitions.id << 40 | offset
    key TEXT NOT NULL,
    value BLOB,                         -- NULL: a tombstone
    timestamp_ms INTEGER NOT NULL,
    headers TEXT                        -- a JSON object, NULL: none
);

-- Of compacted topics: where the last record of each key is.
CREATE TABLE IF NOT EXISTS latest (
    partition INTEGER NOT NULL,
    key TEXT NOT NULL,
    position INTEGER NOT NULL,
    tombstone_ms INTEGER,               -- when it was written, if it is a tombstone
    PRIMARY KEY (partition, key)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS latest_tombstones ON latest (partition, tombstone_ms) WHERE tombstone_ms IS NOT NULL;

-- Of each group the offset that it reads next.
CREATE TABLE IF NOT EXISTS positions (
    consumer_group TEXT NOT NULL,
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, partition)
) WITHOUT ROWID;

-- What groups with state remember, in the grain in which they change it.
CREATE TABLE IF NOT EXISTS state (
    consumer_group TEXT NOT NULL,
    partition INTEGER NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (consumer_group, partition, key)
) WITHOUT ROWID;
