"""Which flows run others or are started by them: saved flows come in, the graph of their dependencies goes out.

A flow leads to those that its tasks run, and to those whose Flow triggers name it; a trigger that takes executions of
all flows links nothing, because it would link everything.  State: what each revision was found to name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from flowtide.errors import FlowInvalid
from flowtide.log.keys import FlowKey
from flowtide.model.flow import Flow
from flowtide.model.flowables import Subflow
from flowtide.model.triggers.flow import FlowTrigger
from flowtide.model.upstream import Pattern, Reach
from flowtide.services.catalog import SavedFlow

Name = tuple[str, str]
"""Namespace and id of a flow."""

_READ_AT_ONCE = 50  # flows, before others have their turn
MOST_FLOWS = 10_000  # of one graph


class Relation(StrEnum):
    """How a flow leads to another one."""

    TASK = "FLOW_TASK"
    TRIGGER = "FLOW_TRIGGER"


@dataclass(frozen=True, slots=True)
class Link:
    """One flow leads to another one."""

    source: Name
    target: Name
    relation: Relation


@dataclass(frozen=True, slots=True)
class _Named:
    """What a revision of a flow names."""

    revision: int
    runs: frozenset[Name]
    follows: frozenset[Pattern]


class FlowLinks:
    """Knows what each flow names; a revision is read once."""

    def __init__(self) -> None:
        self._named: dict[FlowKey, _Named] = {}

    async def among(self, flows: Iterable[SavedFlow]) -> Links:
        """The links between these flows."""
        found: dict[Name, _Named] = {}
        read = 0
        for saved in list(flows):
            named = self._named.get(saved.key)
            if named is None or named.revision != saved.revision:
                named = self._named[saved.key] = _named(saved)
                read += 1
                if read % _READ_AT_ONCE == 0:
                    await asyncio.sleep(0)
            found[saved.key.namespace, saved.key.flow_id] = named
        return Links(found)


class Links:
    """The links between some flows."""

    def __init__(self, named: dict[Name, _Named]) -> None:
        self.names = frozenset(named)
        self._out: dict[Name, list[Link]] = {}
        self._in: dict[Name, list[Link]] = {}
        spaces: dict[str, list[Name]] = {}
        for name in named:
            spaces.setdefault(name[0], []).append(name)
        for name, each in named.items():
            for called in sorted(each.runs & self.names):
                self._add(Link(name, called, Relation.TASK))
            for source in sorted(_matching(each.follows, self.names, spaces)):
                self._add(Link(source, name, Relation.TRIGGER))

    def of(self, name: Name, *, destinations_only: bool, all_levels: bool) -> tuple[list[Name], list[Link]]:
        """The flows around one, itself first, and the links between it and them."""
        nodes: dict[Name, None] = {name: None}
        links: dict[Link, None] = {}
        waiting = [name]
        while waiting and len(nodes) < MOST_FLOWS:
            current = waiting.pop()
            around = list(self._out.get(current, ()))
            if not destinations_only:
                around += self._in.get(current, ())
            for link in around:
                links[link] = None
                for end in (link.source, link.target):
                    if end not in nodes:
                        nodes[end] = None
                        if all_levels:
                            waiting.append(end)
        return list(nodes), list(links)

    def within(self, names: Iterable[Name], *, destinations_only: bool) -> tuple[list[Name], list[Link]]:
        """Several flows, those that they lead to, and unless `destinations_only` those that lead to them."""
        nodes: dict[Name, None] = dict.fromkeys(names)
        links: dict[Link, None] = {}
        for name in list(nodes):
            around = list(self._out.get(name, ()))
            if not destinations_only:
                around += self._in.get(name, ())
            for link in around:
                links[link] = None
                nodes[link.source] = nodes[link.target] = None
        return list(nodes), list(links)

    def _add(self, link: Link) -> None:
        self._out.setdefault(link.source, []).append(link)
        self._in.setdefault(link.target, []).append(link)


def _named(saved: SavedFlow) -> _Named:
    source = saved.source
    if "flowId" not in source and ".Flow" not in source:
        return _Named(saved.revision, frozenset(), frozenset())  # nothing that names a flow
    try:
        flow = saved.flow
    except FlowInvalid:
        return _Named(saved.revision, frozenset(), frozenset())  # saved by a server with other plugins
    return _Named(saved.revision, frozenset(_run_by(flow)), _followed_by(flow))


def _run_by(flow: Flow) -> Iterable[Name]:
    for task in flow.all_tasks():
        if isinstance(task, Subflow) and "{" not in task.namespace + task.flow_id:
            yield task.namespace, task.flow_id


def _followed_by(flow: Flow) -> frozenset[Pattern]:
    patterns = [each.upstream() for each in flow.triggers if isinstance(each, FlowTrigger)]
    return frozenset().union(*patterns)


def _matching(
    patterns: Iterable[Pattern], names: frozenset[Name], spaces: dict[str, list[Name]]
) -> set[Name]:
    found: set[Name] = set()
    for pattern in patterns:
        if pattern.reach is Reach.FLOW:
            found |= {(pattern.namespace, pattern.flow_id)} & names
        elif pattern.reach is Reach.NAMESPACE:
            found.update(spaces.get(pattern.namespace, ()))
        elif pattern.reach is Reach.PREFIX:
            for space, inside in spaces.items():
                if space.startswith(pattern.namespace):
                    found.update(inside)
    return found
