"""Cycles of subflows: a flow that is to be saved and those that are saved in, the way back to it out (FLW-19).

Only what is written out is seen; a flow whose Subflow tasks name their flow by a template is bounded when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flowtide.errors import FlowInvalid
from flowtide.model.flow import Flow
from flowtide.model.flowables import Subflow

Name = tuple[str, str]
"""Namespace and id of a flow."""

_MOST_FLOWS = 2_000
"""Flows looked at for one save; a tree of subflows that is larger is not looked through to its end."""


def way_back(flow: Flow, lookup: Callable[[Name], Flow | None]) -> list[Name]:
    """The flows that lead from `flow` to itself, `flow` first and last; empty when there is no cycle.

    `lookup` gives a saved flow, None when there is none; it may raise FlowInvalid.
    """
    start = (flow.namespace, flow.id)
    came_from: dict[Name, Name] = {}
    waiting = [(start, flow)]
    while waiting and len(came_from) < _MOST_FLOWS:
        name, caller = waiting.pop()
        for called in _called(caller):
            if called == start:
                way = [start]
                while name != start:
                    way.append(name)
                    name = came_from[name]
                return [start, *reversed(way)]
            if called in came_from:
                continue
            came_from[called] = name
            try:
                found = lookup(called)
            except FlowInvalid:
                continue  # saved by a server with other plugins; it does not run here either
            if found is not None:
                waiting.append((called, found))
    return []


def _called(flow: Flow) -> Iterator[Name]:
    for task in flow.all_tasks():
        if isinstance(task, Subflow) and "{" not in task.namespace + task.flow_id:
            yield task.namespace, task.flow_id
