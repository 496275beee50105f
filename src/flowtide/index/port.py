"""The port of the search index: documents by kind, written in bulk from the log, found by typed queries.

The index is derived from the log and can be thrown away and rebuilt.  Two adapters implement this port,
`flowtide.index.embedded` (SQLite) and `flowtide.index.elasticsearch`; both are held to
`flowtide.testing.contracts.index`.  THE TENANT is an argument of everything that reads, and each adapter adds it to
a query at one place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from flowtide.index.kinds import KINDS, Scalar, kind_of
from flowtide.index.queries import (
    AllOf,
    Bucket,
    Dates,
    Filter,
    Found,
    Group,
    Interval,
    Match,
    Measure,
    Operation,
    Page,
    Query,
    Sort,
    Words,
)
from flowtide.model.entries import Level

_NEAR = 1.02  # how near a quantile is found
_TINY = 0.000_001  # below any that matters


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """A document to be written; build it with `flowtide.index.documents`."""

    kind: str
    tenant: str
    id: str
    version: int  # the position on the log; a document of a higher version is not overwritten
    body: bytes  # a JSON object
    values: tuple[
        Scalar, ...
    ]  # its fields in the order of the kind's table; dates as microseconds since 1970
    labels: tuple[tuple[str, str], ...] = ()


class Delete(msgspec.Struct, frozen=True, kw_only=True):
    """A document to be removed, unless the stored one has a higher version."""

    kind: str
    tenant: str
    id: str
    version: int


class Index(ABC):
    """The index itself.  Start it before use.

    Every method raises IndexUnavailable when the index cannot be reached (call again later), and those that take a
    filter IndexQueryInvalid when it names what the kind does not have.
    """

    @abstractmethod
    async def start(self) -> None:
        """Connect or open, and make sure that tables, templates and mappings are there (`ensure`)."""

    @abstractmethod
    async def close(self) -> None:
        """Release everything.  A second call does nothing."""

    @abstractmethod
    async def ensure(self) -> None:
        """Make sure that tables, templates and mappings are there; a second call changes nothing."""

    async def outdated(self) -> list[str]:
        """What `start` or `set_aside` would change, a sentence each; nothing is changed, and it need not be open."""
        return []

    async def set_aside(self) -> str | None:
        """Put away what an earlier version made and this one cannot read; to be called before `start`.

        Gives where it is now, and everything is to be indexed anew; None when all can be read.
        """
        return None

    @abstractmethod
    async def write(self, batch: Sequence[Write | Delete]) -> Mapping[int, str]:
        """Write a batch durably, in its order, and give what was refused for good: place in the batch -> reason.

        Idempotent: for each document the highest version wins and an equal one is written again; for kinds that
        never change, the first write wins.  When it raises, some may have been written; write the batch again.
        """

    @abstractmethod
    async def refresh(self) -> None:
        """Return when all that was written so far is found by searches."""

    def writes(self, kind: str) -> int | None:
        """A number that another one follows after each write to a kind; None where others write, too.

        Whoever asks the same again and again need not ask while it stays.
        """
        kind_of(kind)
        return None

    @abstractmethod
    async def get_many(self, kind: str, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Found]:
        """The documents of these (tenant, id), as last written, refreshed or not; those not there are left out."""

    async def get(self, kind: str, tenant: str, id: str) -> Found | None:  # noqa: A002 - the word of the port
        """One document as last written, or None."""
        return (await self.get_many(kind, [(tenant, id)])).get((tenant, id))

    @abstractmethod
    async def search(self, tenant: str, query: Query) -> Page:
        """Find documents.  A page beyond the end is empty."""

    @abstractmethod
    async def count(self, tenant: str, kind: str, filter: Filter | None = None) -> int:  # noqa: A002 - as above
        """How many documents match."""

    @abstractmethod
    async def aggregate(
        self,
        tenant: str,
        kind: str,
        *,
        filter: Filter | None = None,  # noqa: A002 - as above
        groups: Sequence[Group] = (),
        measures: Sequence[Measure] = (),
        limit: int | None = None,
    ) -> list[Bucket]:
        """Count and measure documents by groups, sorted by the groups' keys; without groups one bucket for all.

        Groups without documents are left out, and those after the first `limit`.
        """

    async def quantiles(
        self,
        tenant: str,
        kind: str,
        field: str,
        shares: Sequence[float],
        filter: Filter | None = None,  # noqa: A002 - as above
    ) -> list[float | None]:
        """What each share of the documents that have this number stays at or below, within 2 %; None without any.

        Numbers are zero or more.  Found by counting, whose cost hardly grows with the number of documents.
        """
        parts = () if filter is None else (filter,)
        ends = [Measure("minimum", field), Measure("maximum", field), Measure("count", field)]
        whole = await self.aggregate(tenant, kind, filter=AllOf(parts), measures=ends)
        if not whole or not whole[0].values[2]:
            return [None for _ in shares]
        least, most, count = (float(value or 0) for value in whole[0].values)
        found: list[float | None] = []
        for share in shares:
            low, high = max(least, _TINY), max(most, _TINY)
            while high / low > _NEAR:
                middle = math.sqrt(low * high)
                below = Match(field, Operation.LESS_THAN_OR_EQUAL_TO, middle)
                if await self.count(tenant, kind, AllOf((*parts, below))) >= math.ceil(share * count):
                    high = middle
                else:
                    low = middle
            found.append(high)
        return found

    async def scan(
        self,
        tenant: str,
        kind: str,
        filter: Filter | None = None,  # noqa: A002 - as above
        *,
        size: int = 1_000,
    ) -> AsyncIterator[list[Found]]:
        """Everything that matches and is there throughout, by id, in portions of at most `size`."""
        after: str | None = None
        while True:
            page = await self.search(
                tenant, Query(kind=kind, filter=filter, size=size, after=after, count=False)
            )
            if page.results:
                yield page.results
            after = page.next
            if after is None:
                return

    @abstractmethod
    async def delete(self, tenant: str, kind: str, filter: Filter | None = None) -> int:  # noqa: A002 - as above
        """Remove everything that matches and is visible to searches; gives how many documents that were."""

    @abstractmethod
    async def clear(self, kinds: Sequence[str] = tuple(KINDS)) -> None:
        """Remove all documents of these kinds, of all tenants, and their versions: before indexing anew."""

    # --- what the parts of Flowtide ask for ---------------------------------------------------------------------

    async def task_runs(
        self,
        tenant: str,
        execution_id: str,
        *,
        filter: Filter | None = None,  # noqa: A002 - as above
        size: int = 1_000,
        after: str | None = None,
        count: bool = False,
    ) -> Page:
        """The task runs of an execution in the order of their creation."""
        parts: list[Filter] = [Match("executionId", Operation.EQUALS, execution_id)]
        if filter is not None:
            parts.append(filter)
        query = Query(
            kind="task_runs",
            filter=AllOf(tuple(parts)),
            sort=(Sort("order"),),
            size=size,
            after=after,
            count=count,
        )
        return await self.search(tenant, query)

    async def events(self, tenant: str, execution_id: str, first: int, last: int) -> list[Found]:
        """The events of an execution numbered `first` to `last` (inclusive, at most 10,000 of them), in order."""
        query = Query(
            kind="events",
            filter=AllOf(
                (
                    Match("executionId", Operation.EQUALS, execution_id),
                    Match("number", Operation.GREATER_THAN_OR_EQUAL_TO, first),
                    Match("number", Operation.LESS_THAN_OR_EQUAL_TO, last),
                )
            ),
            sort=(Sort("number"),),
            size=max(0, last - first + 1),
            count=False,
        )
        return (await self.search(tenant, query)).results

    async def event_counts(
        self,
        tenant: str,
        execution_id: str,
        interval: Interval,
        filter: Filter | None = None,  # noqa: A002 - as above
    ) -> list[Bucket]:
        """How many events an execution had in each interval of time; empty intervals are left out."""
        own = Match("executionId", Operation.EQUALS, execution_id)
        parts = (own,) if filter is None else (own, filter)
        return await self.aggregate(tenant, "events", filter=AllOf(parts), groups=[Dates("at", interval)])

    async def logs(
        self,
        tenant: str,
        execution_id: str,
        *,
        minimum_level: Level = Level.TRACE,
        task_run_id: str | None = None,
        attempt: int | None = None,
        task_id: str | None = None,
        text: str = "",
        descending: bool = False,
        size: int = 1_000,
        after: str | None = None,
        count: bool = False,
    ) -> Page:
        """The log lines of an execution by time."""
        parts: list[Filter] = [Match("executionId", Operation.EQUALS, execution_id)]
        if minimum_level is not Level.TRACE:
            parts.append(at_least(minimum_level))
        for name, value in (("taskRunId", task_run_id), ("attemptNumber", attempt), ("taskId", task_id)):
            if value is not None:
                parts.append(Match(name, Operation.EQUALS, value))
        if text.strip():
            parts.append(Words(text))
        query = Query(
            kind="logs",
            filter=AllOf(tuple(parts)),
            sort=(Sort("timestamp", descending),),
            size=size,
            after=after,
            count=count,
        )
        return await self.search(tenant, query)


def at_least(level: Level) -> Match:
    """The filter of log lines of this level and graver ones."""
    graver = [other.value for other in Level if other.severity >= level.severity]
    return Match("level", Operation.IN, graver)
