"""Which parts of a filter are common: so many documents fulfil them that reading by date finds a page soonest.

In come a filter and a connection that may be asked; out go the parts that are common.  SQLite cannot know: a label
may be that of one execution or of all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from flowtide.index.embedded.compiler import TRIGRAM, like, trigrams
from flowtide.index.kinds import Kind
from flowtide.index.queries import AllOf, AnyOf, Filter, HasLabel, Words

_COMMON: Final = 1_000  # documents; fewer are found and sorted in a millisecond or two


def common_parts(
    connection: sqlite3.Connection, kind: Kind, tenant: str, condition: Filter | None
) -> frozenset[Filter]:
    """The labels and the free text of a filter that many documents have."""
    return frozenset(part for part in _parts(condition) if _is_common(connection, kind, tenant, part))


def has_words(condition: Filter | None) -> bool:
    """Whether free text is looked for."""
    if isinstance(condition, AllOf | AnyOf):
        return any(has_words(part) for part in condition.parts)
    return isinstance(condition, Words)


def _parts(condition: Filter | None) -> Iterator[Filter]:
    """All that must hold, each part."""
    if isinstance(condition, AllOf):
        for part in condition.parts:
            yield from _parts(part)
    elif isinstance(condition, Words) or (isinstance(condition, HasLabel) and not condition.negated):
        yield condition


def _is_common(connection: sqlite3.Connection, kind: Kind, tenant: str, part: Filter) -> bool:
    if isinstance(part, HasLabel):
        if not kind.labels:
            return False
        condition, parameters = "tenant = ? AND key = ?", [tenant, part.key]
        if part.value is not None:
            condition += " AND value = ?"
            parameters.append(part.value)
        some = f"SELECT 1 FROM {kind.name}_labels WHERE {condition} LIMIT {_COMMON}"  # noqa: S608 - names are ours
        return _count(connection, some, parameters) >= _COMMON
    if kind.name != "executions" or not isinstance(part, Words):
        return False
    words = part.text.lower().split()
    return bool(words) and all(_word_is_common(connection, tenant, word) for word in words)


def _word_is_common(connection: sqlite3.Connection, tenant: str, word: str) -> bool:
    if len(word) < TRIGRAM:
        return True
    pattern = like(word)
    of_flows = (
        "SELECT ifnull(sum(total), 0) FROM executions_totals"
        r" WHERE tenant = ? AND (namespace LIKE ? ESCAPE '\' OR flow_id LIKE ? ESCAPE '\')"
    )
    if int(connection.execute(of_flows, [tenant, pattern, pattern]).fetchone()[0]) >= _COMMON:
        return True
    some = f"SELECT 1 FROM executions_words WHERE executions_words MATCH ? LIMIT {_COMMON}"  # noqa: S608 - a number of ours
    return _count(connection, some, [trigrams(word)]) >= _COMMON


def _count(connection: sqlite3.Connection, some: str, parameters: list[str]) -> int:
    return int(connection.execute(f"SELECT count(*) FROM ({some})", parameters).fetchone()[0])  # noqa: S608 - made above
