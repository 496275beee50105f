"""Which executions a Flow trigger may be interested in, as far as that can be told without looking at one.

In come conditions and preconditions, out go patterns that a table can be keyed by, so that an execution is offered only
to flows that may want it.  A pattern may match too much, never too little.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple


class Reach(IntEnum):
    """How much a pattern matches, the narrowest first."""

    FLOW = 0  # one flow
    NAMESPACE = 1  # the flows of one namespace
    PREFIX = 2  # the namespaces that begin with a text
    ANYTHING = 3


class Pattern(NamedTuple):
    """Executions of some flows."""

    reach: Reach
    namespace: str = ""  # of PREFIX: what it begins with
    flow_id: str = ""


ANYTHING = Pattern(Reach.ANYTHING)
Patterns = frozenset[Pattern]
EVERYTHING: Patterns = frozenset({ANYTHING})


def of_flow(namespace: str | None, flow_id: str | None) -> Pattern:
    """The pattern of a namespace and a flow's id, each of which may be left out."""
    if namespace is None:
        return ANYTHING  # an id alone may stand in every namespace
    if flow_id is None:
        return Pattern(Reach.NAMESPACE, namespace)
    return Pattern(Reach.FLOW, namespace, flow_id)


def any_of(parts: Iterable[Patterns]) -> Patterns:
    """What matches one of several parts; nothing when there are none."""
    found = frozenset[Pattern]().union(*parts)
    return EVERYTHING if ANYTHING in found else found


def all_of(parts: Sequence[Patterns]) -> Patterns:
    """What may match all of several parts: that of the narrowest one; everything when there are none."""
    return min(parts, key=_width, default=EVERYTHING)


def _width(patterns: Patterns) -> tuple[int, int]:
    return max((pattern.reach for pattern in patterns), default=Reach.FLOW), len(patterns)
