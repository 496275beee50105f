"""The index on SQLite: one thread writes, a few read, and nothing waits for the disk but the writer's thread.

State: one file (WAL, `synchronous=NORMAL`: a power cut may cost the last batches, which the indexer's position on
the log brings back only if it is moved after them; a killed process costs nothing), or memory.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import regex

from flowtide.errors import IndexUnavailable
from flowtide.index.embedded.compiler import Order, grouping, scoped
from flowtide.index.embedded.planning import common_parts, has_words
from flowtide.index.embedded.tables import CHUNKS, SCHEMA, SCHEMA_VERSION, STATISTICS, TABLES, Table
from flowtide.index.embedded.totals import Totals, is_summed
from flowtide.index.kinds import KINDS, FieldType, Kind, kind_of
from flowtide.index.port import Delete, Index, Write
from flowtide.index.queries import (
    Bucket,
    Dates,
    Filter,
    Found,
    Group,
    Measure,
    Page,
    Query,
    Terms,
    beginning,
    checked,
    read_cursor,
    write_cursor,
)

Result = TypeVar("Result")

_FUNCTIONS = {"sum": "total", "average": "avg", "minimum": "min", "maximum": "max", "count": "count"}
_DELETED_AT_ONCE = 5_000  # rows per transaction, so that a large purge lets the indexer in between
_REGEX_SECONDS = 0.05  # per value
_UNWRITABLE = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    ValueError,
)


class EmbeddedIndex(Index):
    """The index in the file `path`, or in memory with `path=None`.

    `threaded=False` does everything at once in the caller's thread: for the simulator, where order must be exact.
    `readers` is the number of threads that answer queries beside the one that writes; as many more count, group and
    look for words, so that nobody who wants one document waits for them.
    """

    def __init__(self, path: Path | str | None, *, threaded: bool = True, readers: int = 2) -> None:
        self._path = None if path is None else Path(path)
        self._threaded = threaded
        self._reader_count = readers if threaded and path is not None else 0
        self._writing: sqlite3.Connection | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._counters: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._totals = Totals()

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the file and make its tables.  Raises IndexUnavailable when it cannot be opened or is too new or old."""
        if self._writing is not None:
            return
        if self._threaded:
            self._writer = ThreadPoolExecutor(1, thread_name_prefix="index-writer")
        if self._reader_count:
            self._readers = ThreadPoolExecutor(self._reader_count, thread_name_prefix="index-reader")
            self._counters = ThreadPoolExecutor(self._reader_count, thread_name_prefix="index-counter")
        try:
            self._writing = await self._execute(self._writer, self._open_for_writing)
        except BaseException:
            await self.close()
            raise

    async def outdated(self) -> list[str]:
        """A file that is not there, or of another version."""
        version = await asyncio.to_thread(self._version)
        if version == SCHEMA_VERSION:
            return []
        if version == 0:
            return ["the file of the index is made"]
        made = "put aside and made anew from the log, as far as that reaches back"
        return [f"the file of the index has schema {version} and this version {SCHEMA_VERSION}: it is {made}"]

    async def set_aside(self) -> str | None:
        """Rename a file of another version."""
        version = await asyncio.to_thread(self._version)
        if self._path is None or version in (0, SCHEMA_VERSION):
            return None
        path = self._path
        aside = path.with_name(f"{path.name}.schema-{version}")

        def rename() -> None:
            # Closing the last connection writes the log of the file back into it.
            sqlite3.connect(path).close()
            for end in ("-wal", "-shm"):
                path.with_name(path.name + end).unlink(missing_ok=True)
            path.replace(aside)

        await asyncio.to_thread(rename)
        return str(aside)

    def _version(self) -> int:
        """The version of the file's schema; 0 when there is no file."""
        if self._path is None or not self._path.exists():
            return 0
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
        finally:
            connection.close()

    async def close(self) -> None:
        """Close the file.  A second call does nothing."""
        connections, self._connections, self._writing = self._connections, [], None
        readers = [each for each in (self._readers, self._counters) if each is not None]
        self._readers = self._counters = None
        writer, self._writer = self._writer, None

        def finish() -> None:
            for each in readers:
                each.shutdown(wait=True, cancel_futures=True)
            for connection in connections:
                connection.close()

        await self._execute(writer, finish)
        if writer is not None:
            writer.shutdown(wait=False)

    async def ensure(self) -> None:
        """Make the tables that are missing."""
        await self._write((), lambda connection: _create(connection, self._path))

    def _open_for_writing(self) -> sqlite3.Connection:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connect()
        if self._path is not None:
            connection.execute("PRAGMA page_size = 8192")  # of a new file; fewer, larger writes to the log
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 8000")  # pages, 64 MB
        _create(connection, self._path)
        return connection

    def _connect(self) -> sqlite3.Connection:
        target = ":memory:" if self._path is None else str(self._path)
        # Only one thread at a time uses a connection; `close` comes from another one, after the threads ended.
        connection = sqlite3.connect(
            target, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        self._connections.append(connection)
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -32000")
        connection.create_function("REGEXP", 2, _matches, deterministic=True)
        return connection

    async def _execute(self, executor: ThreadPoolExecutor | None, work: Callable[[], Result]) -> Result:
        try:
            if executor is None:
                return work()
            return await asyncio.get_running_loop().run_in_executor(executor, work)
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            raise _translated(error, self._path) from error
        except OSError as error:
            raise IndexUnavailable(f"the index {self._path} cannot be opened: {error}") from error

    async def _write(self, kinds: Collection[str], work: Callable[[sqlite3.Connection], Result]) -> Result:
        connection = self._writing
        if connection is None:
            raise IndexUnavailable("the index is not open; start it first")

        def write() -> Result:
            try:
                return _in_transaction(connection, work)
            finally:
                self._totals.written(kinds)

        return await self._execute(self._writer, write)

    async def _read(self, work: Callable[[sqlite3.Connection], Result], *, long: bool = False) -> Result:
        connection = self._writing
        if connection is None:
            raise IndexUnavailable("the index is not open; start it first")
        readers = self._counters if long else self._readers
        if readers is None:
            return await self._execute(self._writer, lambda: work(connection))
        return await self._execute(readers, lambda: work(self._reading()))

    def _reading(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection not in self._connections:
            connection = self._local.connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -16000")
        return connection

    # --- writing ------------------------------------------------------------------------------------------------

    async def write(self, batch: Sequence[Write | Delete]) -> Mapping[int, str]:
        """Write a batch in one transaction."""
        if not batch:
            return {}
        kinds = {each.kind for each in batch}
        return await self._write(kinds, lambda connection: _write_batch(connection, batch))

    async def refresh(self) -> None:
        """Nothing to do: what was written is found."""

    async def delete(self, tenant: str, kind: str, filter: Filter | None = None) -> int:  # noqa: A002 - the port's word
        """Remove what matches, in transactions of some thousand rows."""
        table = TABLES[kind_of(kind).name]
        condition, parameters = scoped(table.kind, tenant, filter)
        key = "row" if table.has_row else "(tenant, execution_id, number)"
        selected = key.strip("()")
        statement = (
            f"DELETE FROM {table.name} WHERE {key} IN"  # noqa: S608 - names are ours, values are parameters
            f" (SELECT {selected} FROM {table.name} WHERE {condition} LIMIT {_DELETED_AT_ONCE})"
        )
        total = 0
        while True:
            count = await self._write(
                (kind,), lambda connection: connection.execute(statement, parameters).rowcount
            )
            total += count
            if count < _DELETED_AT_ONCE:
                return total

    async def clear(self, kinds: Sequence[str] = tuple(KINDS)) -> None:
        """Drop the tables of these kinds and make them again."""
        names = [kind_of(kind).name for kind in kinds]

        def drop(connection: sqlite3.Connection) -> None:
            for name in names:
                for table in (name, f"{name}_labels", f"{name}_words", f"{name}_totals"):
                    connection.execute(f"DROP TABLE IF EXISTS {table}")
            _create(connection, self._path)

        await self._write(names, drop)

    # --- reading ------------------------------------------------------------------------------------------------

    def writes(self, kind: str) -> int | None:
        """How often the kind was written since the start: the file belongs to this process."""
        return self._totals.writes(kind_of(kind).name)

    async def get_many(self, kind: str, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Found]:
        """Documents by id."""
        table = TABLES[kind_of(kind).name]
        found: dict[tuple[str, str], Found] = {}
        rows: list[list[Any]] = []
        for tenant, identifier in keys:
            try:
                rows.append([tenant, *table.id_values(identifier)])
            except ValueError:
                continue  # no id of this kind, so there is no such document
        if not rows:
            return found
        # Rounded up to a power of two, so that few statements serve all lengths.
        size = 1 << (min(len(rows), 512) - 1).bit_length()
        statement = (
            f"SELECT tenant, {table.identity}, version, body FROM {table.name}"  # noqa: S608 - names are ours
            f" WHERE {table.many(size)}"
        )

        def read(connection: sqlite3.Connection) -> None:
            for start in range(0, len(rows), size):
                chunk = rows[start : start + size]
                chunk.extend([chunk[-1]] * (size - len(chunk)))
                parameters = [value for row in chunk for value in row]
                for tenant, identity, version, body in connection.execute(statement, parameters):
                    identifier = table.id_text(identity)
                    found[tenant, identifier] = Found(id=identifier, version=version, body=body)

        await self._read(read)
        return found

    async def search(self, tenant: str, query: Query) -> Page:
        """Find documents: first the places in order, then only the bodies of the page."""
        kind = kind_of(checked(query).kind)
        table = TABLES[kind.name]
        order = Order([(kind.field(sort.field), sort.descending) for sort in query.sort], table.identity)
        offset, beyond = (query.page - 1) * query.size, ""
        values: list[Any] = []
        if query.after is not None:
            offset = 0
            after, values = order.after(read_cursor(query.after, order.length))
            beyond = f" AND {after}"
        content = "row" if table.has_row else "version, body"
        is_long = has_words(query.filter) or (query.count and not is_summed(kind, query.filter))

        def read(connection: sqlite3.Connection) -> Page:
            common = common_parts(connection, kind, tenant, query.filter)
            condition, parameters = piece = scoped(kind, tenant, query.filter, common)
            total, rows = None, []
            if query.count:
                total = self._totals.count(connection, kind, tenant, query.filter, piece)
            if query.size and (total is None or total > offset):
                statement = (
                    f"SELECT {order.columns}, {content} FROM {table.name} WHERE {condition}{beyond}"  # noqa: S608 - names are ours
                    f" ORDER BY {order.clause} LIMIT {query.size + 1} OFFSET {min(offset, 1 << 60)}"
                )
                rows = connection.execute(statement, [*parameters, *values]).fetchall()
            more = len(rows) > query.size
            rows = rows[: query.size]
            return Page(
                results=_bodies(connection, table, rows, order.length),
                total=total,
                next=write_cursor(rows[-1][: order.length]) if more else None,
            )

        return await self._read(read, long=is_long)

    async def count(self, tenant: str, kind: str, filter: Filter | None = None) -> int:  # noqa: A002 - the port's word
        """How many documents match."""
        table = kind_of(kind)
        piece = scoped(table, tenant, filter)
        return await self._read(
            lambda connection: self._totals.count(connection, table, tenant, filter, piece),
            long=not is_summed(table, filter),
        )

    async def quantiles(
        self,
        tenant: str,
        kind: str,
        field: str,
        shares: Sequence[float],
        filter: Filter | None = None,  # noqa: A002 - the port's word
    ) -> list[float | None]:
        """Exactly, by one pass and a sort."""
        table = kind_of(kind)
        condition, parameters = scoped(table, tenant, filter)
        column = table.field(field).column
        statement = f"SELECT {column} FROM {table.name} WHERE {condition} AND {column} IS NOT NULL ORDER BY 1"  # noqa: S608 - names are ours

        def read(connection: sqlite3.Connection) -> list[float | None]:
            found = [row[0] for row in connection.execute(statement, parameters)]
            return [found[max(0, math.ceil(share * len(found)) - 1)] if found else None for share in shares]

        return await self._read(read)

    async def aggregate(
        self,
        tenant: str,
        kind: str,
        *,
        filter: Filter | None = None,  # noqa: A002 - the port's word
        groups: Sequence[Group] = (),
        measures: Sequence[Measure] = (),
        limit: int | None = None,
    ) -> list[Bucket]:
        """Count and measure by groups."""
        table = kind_of(kind)
        condition, parameters = scoped(table, tenant, filter)
        grouped = [grouping(table, tenant, group, number) for number, group in enumerate(groups)]
        numbers = [
            f"{_FUNCTIONS[measure.function]}(documents.{table.field(measure.field).column})"
            for measure in measures
        ]
        keys = [expression for expression, _, _, _ in grouped]
        joins = "".join(join for _, join, _, _ in grouped)
        joined = [value for _, _, values, _ in grouped for value in values]
        needed = " AND ".join(["1", *(needs for _, _, _, needs in grouped)])
        # The filter stands in a view of its own, so that its unqualified names never meet those of joined labels.
        inner = f"SELECT * FROM {table.name} WHERE {condition}"  # noqa: S608 - names are ours, values are parameters
        statement = (
            f"SELECT {', '.join([*keys, 'count(*)', *numbers])} FROM ({inner}) AS documents{joins}"  # noqa: S608 - as above
            f" WHERE {needed}"
        )
        if keys:
            places = ", ".join(str(place) for place in range(1, len(keys) + 1))
            statement += f" GROUP BY {places} ORDER BY {places}"
        if limit is not None:
            statement += f" LIMIT {int(limit)}"

        def read(connection: sqlite3.Connection) -> list[Bucket]:
            return [
                Bucket(
                    keys=tuple(_key(table, group, key) for group, key in zip(groups, row, strict=False)),
                    count=row[len(keys)],
                    values=tuple(row[len(keys) + 1 :]),
                )
                for row in connection.execute(statement, [*parameters, *joined])
            ]

        return await self._read(read, long=True)


def _create(connection: sqlite3.Connection, path: Path | None) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise IndexUnavailable(
            f"{path} was made by another version of Flowtide (index schema {version}, this one has"
            f" {SCHEMA_VERSION}); stop all servers and run `flowtide sys database migrate`, first with --dry-run"
        )
    statement = ""
    for line in SCHEMA.splitlines(keepends=True):  # executescript would end the transaction that we may be in
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    connection.execute("ANALYZE services")  # makes the table of statistics
    connection.execute("DELETE FROM sqlite_stat1")
    connection.execute(STATISTICS)
    connection.execute("ANALYZE sqlite_schema")  # reads it again
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Result]) -> Result:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _write_batch(connection: sqlite3.Connection, batch: Sequence[Write | Delete]) -> Mapping[int, str]:
    refused: dict[int, str] = {}
    # A document belongs to one kind, so only the order within a kind matters.
    ordered = sorted(range(len(batch)), key=lambda place: batch[place].kind)
    for (kind, writes), group in groupby(ordered, lambda at: (batch[at].kind, isinstance(batch[at], Write))):
        table, places = TABLES[kind_of(kind).name], list(group)
        if not writes:
            _delete_rows(connection, table, [batch[place] for place in places])
            continue
        connection.execute("SAVEPOINT rows")
        try:
            _insert_rows(connection, table, [batch[place] for place in places])
        except _UNWRITABLE:
            connection.execute("ROLLBACK TO rows")
            refused.update(_insert_singly(connection, table, batch, places))
        connection.execute("RELEASE rows")
    return refused


def _insert_rows(connection: sqlite3.Connection, table: Table, writes: Sequence[Any]) -> None:
    done = 0
    for count in CHUNKS:
        statement = table.inserts[count]
        while len(writes) - done >= count:
            parameters: list[Any] = []
            for write in writes[done : done + count]:
                parameters += table.row(write)
            connection.execute(statement, parameters)
            done += count
    _insert_labels(connection, table, writes)


def _insert_labels(connection: sqlite3.Connection, table: Table, writes: Sequence[Any]) -> None:
    labels = [
        (write.tenant, write.id, write.version, key, value) for write in writes for key, value in write.labels
    ]
    done = 0
    for count in CHUNKS:
        while len(labels) - done >= count:
            parameters = [value for label in labels[done : done + count] for value in label]
            connection.execute(table.label_inserts[count], parameters)
            done += count


def _insert_singly(
    connection: sqlite3.Connection, table: Table, batch: Sequence[Any], places: Sequence[int]
) -> dict[int, str]:
    refused: dict[int, str] = {}
    for place in places:
        try:
            connection.execute(table.inserts[1], table.row(batch[place]))
            _insert_labels(connection, table, [batch[place]])
        except _UNWRITABLE as error:
            refused[place] = f"it does not fit the index of {table.name}: {error}"
    return refused


def _delete_rows(connection: sqlite3.Connection, table: Table, deletes: Sequence[Any]) -> None:
    for delete in deletes:
        connection.execute(
            f"DELETE FROM {table.name} WHERE {table.many(1)} AND version <= ?",  # noqa: S608 - names are ours
            [delete.tenant, *table.id_values(delete.id), delete.version],
        )


def _bodies(
    connection: sqlite3.Connection, table: Table, rows: Sequence[Sequence[Any]], length: int
) -> list[Found]:
    if not table.has_row:
        return [Found(id=row[length - 1], version=row[length], body=row[length + 1]) for row in rows]
    bodies: dict[int, tuple[int, bytes]] = {}
    places = [row[length] for row in rows]
    for start in range(0, len(places), 1_000):
        chunk = places[start : start + 1_000]
        statement = (
            f"SELECT row, version, body FROM {table.name} WHERE row IN ({', '.join('?' * len(chunk))})"  # noqa: S608 - names are ours
        )
        for place, version, body in connection.execute(statement, chunk):
            bodies[place] = version, body
    return [
        Found(id=table.id_text(row[length - 1]), version=bodies[row[length]][0], body=bodies[row[length]][1])
        for row in rows
        if row[length] in bodies  # else it was removed between the two reads
    ]


def _key(kind: Kind, group: Group, value: Any) -> Any:
    if isinstance(group, Dates):
        return beginning(value)
    if isinstance(group, Terms) and value is not None and kind.field(group.field).type is FieldType.BOOLEAN:
        return bool(value)
    return value


def _matches(pattern: str, value: str | None) -> bool:
    if value is None:
        return False
    try:
        return regex.fullmatch(pattern, value, timeout=_REGEX_SECONDS) is not None
    except (regex.error, TimeoutError):
        return False


def _translated(error: sqlite3.Error, path: Path | None) -> IndexUnavailable:
    return IndexUnavailable(
        f"the index {path or 'in memory'} cannot be used: {error}; check the disk,"
        " or delete the file and index the log anew"
    )
