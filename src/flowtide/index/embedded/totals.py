"""How many documents match: from running totals, or counted and remembered for as long as nothing is written.

In come a kind, a tenant and a filter; out goes a number that is exact for the moment of the question.  State: the
counts that were made last, each with how often its kind had been written when it was made.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from flowtide.index.embedded.compiler import Piece, scoped
from flowtide.index.kinds import Kind
from flowtide.index.queries import AllOf, AnyOf, Filter, Match

_REMEMBERED: Final = 1_000
_MOST_PARAMETERS: Final = 50  # a longer list of ids is hardly asked for again, and would take memory
_SUMMED: Final = frozenset({"namespace", "flowId", "state.current", "kind"})
"""What `executions_totals` is kept by; a filter of nothing else needs no look at the executions themselves."""


class Totals:
    """Counts for one index.  Every method may be called from every thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writes: Counter[str] = Counter()
        self._counted: OrderedDict[tuple[str, tuple[Any, ...]], tuple[int, int]] = OrderedDict()

    def written(self, kinds: Iterable[str]) -> None:
        """Forget what was counted of these kinds: call it after each commit, before its writer is answered."""
        with self._lock:
            self._writes.update(set(kinds))

    def writes(self, kind: str) -> int:
        """How often the kind was written."""
        with self._lock:
            return self._writes[kind]

    def count(
        self, connection: sqlite3.Connection, kind: Kind, tenant: str, condition: Filter | None, piece: Piece
    ) -> int:
        """How many documents match `condition`, which `piece` is the SQL of."""
        if is_summed(kind, condition):
            text, parameters = scoped(kind, tenant, condition)
            summing = f"SELECT ifnull(sum(total), 0) FROM executions_totals WHERE {text}"  # noqa: S608 - names are ours
            return int(connection.execute(summing, parameters).fetchone()[0])
        return self._remembered(connection, kind.name, *piece)

    def _remembered(
        self, connection: sqlite3.Connection, kind: str, text: str, parameters: Sequence[Any]
    ) -> int:
        statement = f"SELECT count(*) FROM {kind} WHERE {text}"  # noqa: S608 - names are ours
        key = (statement, tuple(parameters))
        with self._lock:
            writes = self._writes[
                kind
            ]  # noted before it is counted: a write meanwhile makes the count outdated
            known = self._counted.get(key)
            if known is not None and known[0] == writes:
                self._counted.move_to_end(key)
                return known[1]
        total = int(connection.execute(statement, parameters).fetchone()[0])
        if len(parameters) > _MOST_PARAMETERS:
            return total
        with self._lock:
            self._counted[key] = (writes, total)
            self._counted.move_to_end(key)
            if len(self._counted) > _REMEMBERED:
                self._counted.popitem(last=False)
        return total


def is_summed(kind: Kind, condition: Filter | None) -> bool:
    """Whether the running totals say how many documents match."""
    return kind.name == "executions" and (condition is None or _names_only_summed(kind, condition))


def _names_only_summed(kind: Kind, condition: Filter) -> bool:
    if isinstance(condition, Match):
        return kind.field(condition.field).path in _SUMMED
    if isinstance(condition, AllOf | AnyOf):
        return all(_names_only_summed(kind, part) for part in condition.parts)
    return False
