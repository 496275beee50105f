"""A store on SQLite: write-ahead log, every transaction synced to disk, one file for one process.

Three connections: the writer's, one for reads, one that moves the write-ahead log into the file beside them.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from io import FileIO
from pathlib import Path

from flowtide.errors import LogLocked, LogUnavailable
from flowtide.log.embedded.store import READ_LIMIT_BYTES, Contents, StoredPartition, StoredTopic, Write
from flowtide.log.port import Record
from flowtide.log.topics import Topic

_SHIFT = 40  # bits of an offset; see schema.sql
WAL_BYTES = 8 * 1024 * 1024  # what the write-ahead log is meant to hold
_ZEROS = bytes(1024 * 1024)
_WAL_LIMIT_PAGES = 4096  # 16 MiB: beyond it the writer itself moves the rest of the log into the file
_FORMAT = 1  # `user_version` of files that this code can read

_INSERT_RECORD = "INSERT INTO records (position, key, value, timestamp_ms, headers) VALUES (?, ?, ?, ?, ?)"
_DELETE_SUPERSEDED = (
    "DELETE FROM records WHERE position = (SELECT position FROM latest WHERE partition = ? AND key = ?)"
)
_SET_LATEST = "INSERT OR REPLACE INTO latest (partition, key, position, tombstone_ms) VALUES (?, ?, ?, ?)"
_SET_POSITION = "INSERT OR REPLACE INTO positions (consumer_group, partition, offset) VALUES (?, ?, ?)"
_SET_STATE = "INSERT OR REPLACE INTO state (consumer_group, partition, key, value) VALUES (?, ?, ?, ?)"
_DELETE_STATE = "DELETE FROM state WHERE consumer_group = ? AND partition = ? AND key = ?"


class SqliteStore:
    """Keeps everything in the file `path`; see `Store` for the contract.

    Raises LogLocked on opening when another process has the file open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: FileIO | None = None
        self._writing: sqlite3.Connection | None = None
        self._reading: sqlite3.Connection | None = None
        self._tidying: sqlite3.Connection | None = None
        self._compacted: set[int] = set()

    def open(self) -> None:
        """See `Store`."""
        with self._translated("open"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            try:
                self._create_schema()
                self._extend_write_ahead_log()
                self._writing = self._connect()
                self._writing.execute(f"PRAGMA wal_autocheckpoint = {_WAL_LIMIT_PAGES}")
                self._reading = self._connect()
                self._tidying = self._connect()
            except BaseException:
                self.close()
                raise

    def contents(self) -> Contents:
        """See `Store`."""
        with self._translated("read"):
            database = self._open_writing()
            ids: dict[str, list[int]] = {}
            partitions: list[StoredPartition] = []
            for partition_id, topic in database.execute(
                "SELECT id, topic FROM partitions ORDER BY topic, number"
            ):
                ids.setdefault(topic, []).append(partition_id)
            for partition_id in (number for numbers in ids.values() for number in numbers):
                low, high = partition_id << _SHIFT, (partition_id + 1) << _SHIFT
                first, last = database.execute(
                    "SELECT (SELECT min(position) FROM records WHERE position >= ?1 AND position < ?2),"
                    " (SELECT max(position) FROM records WHERE position >= ?1 AND position < ?2)",
                    (low, high),
                ).fetchone()
                partitions.append(
                    StoredPartition(
                        id=partition_id,
                        first=0 if first is None else first - low,
                        end=0 if last is None else last - low + 1,
                    )
                )
            topics = [
                StoredTopic(name=name, compacted=cleanup == "compact", partition_ids=tuple(ids[name]))
                for name, cleanup in database.execute("SELECT name, cleanup FROM topics ORDER BY name")
            ]
            positions: dict[str, dict[int, int]] = {}
            for group, partition_id, offset in database.execute(
                "SELECT consumer_group, partition, offset FROM positions"
            ):
                positions.setdefault(group, {})[partition_id] = offset
            self._compacted = {
                number for topic in topics if topic.compacted for number in topic.partition_ids
            }
            return Contents(topics=topics, partitions=partitions, positions=positions)

    def create_topics(self, topics: Sequence[tuple[Topic, int]]) -> None:
        """See `Store`."""
        with self._translated("write"), self._transaction() as database:
            for topic, partitions in topics:
                created = database.execute(
                    "INSERT OR IGNORE INTO topics (name, cleanup) VALUES (?, ?)", (topic.name, topic.cleanup)
                ).rowcount
                if created:
                    database.executemany(
                        "INSERT INTO partitions (topic, number) VALUES (?, ?)",
                        [(topic.name, number) for number in range(partitions)],
                    )

    def write(self, writes: Sequence[Write]) -> None:
        """See `Store`."""
        compacted = self._compacted
        rows = []
        latest: dict[tuple[int, str], tuple[int, str, bytes | None, int, str | None]] = {}
        positions = []
        changed = []
        removed = []
        for unit in writes:
            for partition_id, record in unit.records:
                row = (
                    partition_id << _SHIFT | record.offset,
                    record.key,
                    record.value,
                    record.timestamp_ms,
                    None if record.headers is None else json.dumps(dict(record.headers)),
                )
                if partition_id in compacted:
                    latest[partition_id, record.key] = row
                else:
                    rows.append(row)
            group = unit.group
            positions += [(group, partition_id, offset) for partition_id, offset in unit.positions]
            if unit.changes:
                # The last change of a key wins, so that both statements may run over all units at once.
                final = {(partition_id, key): value for partition_id, key, value in unit.changes}
                for (partition_id, key), value in final.items():
                    if value is None:
                        removed.append((group, partition_id, key))
                    else:
                        changed.append((group, partition_id, key, value))
        with self._translated("write"), self._transaction() as database:
            if latest:
                rows += latest.values()
                database.executemany(_DELETE_SUPERSEDED, latest)
                database.executemany(
                    _SET_LATEST,
                    [(*name, row[0], row[3] if row[2] is None else None) for name, row in latest.items()],
                )
            if rows:
                database.executemany(_INSERT_RECORD, rows)
            if positions:
                database.executemany(_SET_POSITION, positions)
            if removed:
                database.executemany(_DELETE_STATE, removed)
            if changed:
                database.executemany(_SET_STATE, changed)

    def read(self, topic: StoredTopic, number: int, start: int, stop: int, maximum: int) -> list[Record]:
        """See `Store`."""
        base = topic.partition_ids[number] << _SHIFT
        found: list[Record] = []
        size = 0
        with self._translated("read"):
            cursor = self._open_reading().execute(
                "SELECT position, key, value, timestamp_ms, headers FROM records"
                " WHERE position >= ? AND position < ? ORDER BY position LIMIT ?",
                (base | start, base | stop, maximum),
            )
            for position, key, value, timestamp_ms, headers in cursor:
                found.append(
                    Record(
                        topic=topic.name,
                        partition=number,
                        offset=position - base,
                        key=key,
                        value=value,
                        timestamp_ms=timestamp_ms,
                        headers=None if headers is None else json.loads(headers),
                    )
                )
                size += 0 if value is None else len(value)
                if size >= READ_LIMIT_BYTES:
                    break
            cursor.close()
        return found

    def state(self, group: str, partition_id: int) -> dict[str, bytes]:
        """See `Store`."""
        with self._translated("read"):
            return dict(
                self._open_reading().execute(
                    "SELECT key, value FROM state WHERE consumer_group = ? AND partition = ?",
                    (group, partition_id),
                )
            )

    def expire(
        self, topic: StoredTopic, number: int, below: int, before_ms: int, maximum: int
    ) -> tuple[int, int]:
        """See `Store`."""
        partition_id = topic.partition_ids[number]
        low, high = partition_id << _SHIFT, partition_id << _SHIFT | below
        with self._translated("write"):
            database = self._open_writing()
            if topic.compacted:
                old = database.execute(
                    "SELECT position FROM latest WHERE partition = ? AND tombstone_ms < ?"
                    " AND position < ? LIMIT ?",
                    (partition_id, before_ms, high, maximum),
                ).fetchall()
            else:
                # Times grow with the offsets, so the first young record ends the search.
                cursor = database.execute(
                    "SELECT position, timestamp_ms FROM records WHERE position >= ? AND position < ?"
                    " ORDER BY position LIMIT ?",
                    (low, high, maximum),
                )
                old = []
                for position, timestamp_ms in cursor:
                    if timestamp_ms >= before_ms:
                        break
                    old.append((position,))
                cursor.close()
            if old:
                with self._transaction():
                    if topic.compacted:
                        database.executemany(
                            "DELETE FROM latest WHERE (partition, key) ="
                            " (SELECT ?, key FROM records WHERE position = ?)",
                            [(partition_id, *position) for position in old],
                        )
                    database.executemany("DELETE FROM records WHERE position = ?", old)
            first = database.execute(
                "SELECT min(position) FROM records WHERE position >= ? AND position < ?",
                (low, (partition_id + 1) << _SHIFT),
            ).fetchone()[0]
        return len(old), 0 if first is None else first - low

    def tidy(self) -> None:
        """Move what is committed from the write-ahead log into the file, without holding up the writer."""
        with self._translated("write"):
            if self._tidying is not None:
                self._tidying.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """See `Store`."""
        for connection in (self._tidying, self._reading, self._writing):
            if connection is not None:
                connection.close()
        self._tidying = self._reading = self._writing = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        path = self._path.with_name(self._path.name + ".lock")
        lock = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = lock.read(20).decode(errors="replace").strip() or "unknown"
            lock.close()
            raise LogLocked(
                f"the log {self._path} is in use by process {holder}; only one process may open it. Stop "
                "that process, or give this one another path, or use Kafka for several servers on one log"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()).encode())
        self._lock = lock

    def _create_schema(self) -> None:
        database = self._connect()
        try:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _FORMAT):
                raise LogUnavailable(
                    f"{self._path} has format {version}, this program reads format {_FORMAT}; "
                    "start the version of Flowtide that wrote it"
                )
            database.executescript(files("flowtide.log.embedded").joinpath("schema.sql").read_text())
            database.execute(f"PRAGMA user_version = {_FORMAT}")
        finally:
            database.close()

    def _extend_write_ahead_log(self) -> None:
        """Give the write-ahead log its size now: syncing a file that does not grow takes half the time.

        SQLite takes zeros for an empty log.  The last connection has just been closed, so no log is there, except
        one that it could not empty; that one is left alone.
        """
        path = self._path.with_name(self._path.name + "-wal")
        if path.exists():
            return
        try:
            with path.open("wb", buffering=0) as file:
                for _ in range(WAL_BYTES // len(_ZEROS)):
                    file.write(_ZEROS)
                os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)  # a matter of speed only; if there is no space, writing will tell

    def _connect(self) -> sqlite3.Connection:
        # The log sees to it that a connection is used by one thread at a time.
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -16384")
        return connection

    def _open_writing(self) -> sqlite3.Connection:
        if self._writing is None:
            raise LogUnavailable(f"the log {self._path} is closed")
        return self._writing

    def _open_reading(self) -> sqlite3.Connection:
        if self._reading is None:
            raise LogUnavailable(f"the log {self._path} is closed")
        return self._reading

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        database = self._open_writing()
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
        except BaseException:
            # A full disk may have ended the transaction already.
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as error:
            if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)):
                raise
            raise LogUnavailable(
                f"cannot {action} the log {self._path}: {error}; see to space and permissions there, "
                "then it works again by itself"
            ) from error
