"""The graph of a flow, as people see it drawn (G_models, FlowGraph): a flow comes in, nodes, edges and clusters go out.

A flowable task is a cluster: its start, itself, what is inside and its end.  Pure; subflows that shall be drawn open
are looked up by the caller's function.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from typing import Any

from flowtide.model.flow import Flow
from flowtide.model.flowables import Dag, EachParallel, If, Loop, LoopUntil, Parallel, Subflow, Switch
from flowtide.model.task import FlowableTask, Task
from flowtide.model.trigger import Trigger

_PACKAGE = "io.kestra.core.models.hierarchies."
_ROOT = "root"
_MOST_SUBFLOWS = 100
_CASE = "case:"

Lookup = Callable[[str, str, int | None], Flow | None]
"""(namespace, id, revision) -> the flow of a Subflow task; None when there is none, or nobody may see it."""


def flow_graph(flow: Flow, *, opened: Collection[str] = (), lookup: Lookup | None = None) -> dict[str, Any]:
    """The graph; `opened` are the Subflow tasks, by id or uid, that show the flow that they run."""
    return _Graph(flow, frozenset(opened), lookup).drawn()


class _Graph:
    """The graph while it is drawn."""

    def __init__(self, flow: Flow, opened: frozenset[str], lookup: Lookup | None) -> None:
        self._flow = flow
        self._opened = opened
        self._lookup = lookup
        self._left = _MOST_SUBFLOWS
        self._nodes: list[dict[str, Any]] = []
        self._edges: list[dict[str, Any]] = []
        self._clusters: list[dict[str, Any]] = []
        self._around: list[dict[str, Any]] = []  # the clusters that are open, the innermost last
        self._branch: str | None = None  # ERROR, FINALLY or AFTER_EXECUTION
        self._flowables: list[str] = []

    def drawn(self) -> dict[str, Any]:
        start = f"{_ROOT}.start"
        if self._flow.triggers:
            self._triggers(self._flow.triggers, start)
        self._flow_inside(self._flow, _ROOT, start)
        return {
            "nodes": self._nodes,
            "edges": self._edges,
            "clusters": self._clusters,
            "flowables": self._flowables,
        }

    def _flow_inside(self, flow: Flow, prefix: str, start: str) -> str:
        """All tasks of a flow; gives the uid of its end."""
        end = f"{prefix}.end"
        self._node(start, "GraphClusterRoot")
        ends = self._chain(flow.tasks, prefix, [start], "SEQUENTIAL")
        with self._within("ERROR"):
            ends += self._chain(flow.errors, prefix, [start], "ERROR") if flow.errors else []
        with self._within("FINALLY"):
            ends = self._chain(flow.finally_, prefix, ends, "FINALLY")
        self._node(end, "GraphClusterEnd")
        self._join(ends, end, "SEQUENTIAL")
        with self._within("AFTER_EXECUTION"):
            self._chain(flow.after_execution, prefix, [end], "AFTER_EXECUTION")
        return end

    def _triggers(self, triggers: Sequence[Trigger], target: str) -> None:
        uid = f"{_ROOT}.Triggers"
        with self._cluster(uid, "GraphCluster", uid, uid):
            for trigger in triggers:
                node = f"{uid}.{trigger.id}"
                shown = {"id": trigger.id, "type": trigger.type, "disabled": trigger.disabled}
                self._node(node, "GraphTrigger", triggerDeclaration=shown)
                self._join([node], target, "SEQUENTIAL")

    def _chain(
        self, tasks: Sequence[Task], prefix: str, sources: list[str], relation: str, value: str | None = None
    ) -> list[str]:
        """One after the other; gives where the last one ends, the sources themselves when there is none."""
        for task in tasks:
            sources = self._task(task, prefix, sources, relation, value)
            relation, value = "SEQUENTIAL", None
        return sources

    def _task(
        self, task: Task, prefix: str, sources: list[str], relation: str, value: str | None = None
    ) -> list[str]:
        uid = f"{prefix}.{task.id}"
        if isinstance(task, FlowableTask):
            self._flowables.append(task.id)
            if isinstance(task, Subflow):
                return self._subflow(task, uid, sources, relation, value)
            if any(task.branches().values()) or task.errors or task.finally_:
                return self._flowable(task, uid, sources, relation, value)
        self._node(uid, "GraphTask", task=_shown(task))
        self._join(sources, uid, relation, value)
        return [uid]

    def _subflow(
        self, task: Subflow, uid: str, sources: list[str], relation: str, value: str | None
    ) -> list[str]:
        flow: Flow | None = None
        if self._lookup is not None and self._left and self._opened & {uid, task.id}:
            flow = self._lookup(task.namespace, task.flow_id, task.revision)
        if flow is None:
            self._node(uid, "SubflowGraphTask", task=_shown(task))
            self._join(sources, uid, relation, value)
            return [uid]
        self._left -= 1
        start = f"{uid}.start"
        with self._cluster(uid, "SubflowGraphCluster", start, f"{uid}.end", task):
            end = self._flow_inside(flow, uid, start)
        self._join(sources, start, relation, value)
        return [end]

    def _flowable(
        self, task: FlowableTask, uid: str, sources: list[str], relation: str, value: str | None
    ) -> list[str]:
        start, end = f"{uid}.start", f"{uid}.end"
        with self._cluster(uid, "GraphCluster", start, end, task):
            self._node(start, "GraphClusterRoot")
            self._node(uid, "GraphTask", task=_shown(task))
            self._join([start], uid, "SEQUENTIAL")
            ends = self._inside(task, uid)
            with self._within("ERROR"):
                ends += self._chain(task.errors, uid, [uid], "ERROR") if task.errors else []
            with self._within("FINALLY"):
                ends = self._chain(task.finally_, uid, ends, "FINALLY")
            self._node(end, "GraphClusterEnd")
            self._join(ends, end, "SEQUENTIAL")
        self._join(sources, start, relation, value)
        return [end]

    def _inside(self, task: FlowableTask, uid: str) -> list[str]:
        """The tasks of a flowable task, joined as it runs them; gives where they end."""
        branches = task.branches()
        if isinstance(task, Dag):
            return self._dag(task, uid)
        if isinstance(task, Parallel | EachParallel):
            relation = "PARALLEL" if isinstance(task, Parallel) else "DYNAMIC"
            inside = [each for tasks in branches.values() for each in tasks]
            return [end for each in inside for end in self._task(each, uid, [uid], relation)]
        if isinstance(task, If | Switch):
            ends: list[str] = []
            for name, tasks in branches.items():
                if tasks:
                    ends += self._chain(tasks, uid, [uid], "CHOICE", name.removeprefix(_CASE))
                else:
                    ends.append(uid)
            return ends
        relation = "DYNAMIC" if isinstance(task, Loop | LoopUntil) else "SEQUENTIAL"
        return [
            end for tasks in branches.values() if tasks for end in self._chain(tasks, uid, [uid], relation)
        ] or [uid]

    def _dag(self, dag: Dag, uid: str) -> list[str]:
        depends = {node.task.id: tuple(node.depends_on) for node in dag.tasks}
        tasks = {node.task.id: node.task for node in dag.tasks}
        try:
            order = list(TopologicalSorter(depends).static_order())
        except CycleError:
            order = list(tasks)  # refused when it is saved; drawn as it is written
        ends: dict[str, list[str]] = {}
        for task_id in order:
            if task_id not in tasks:
                continue
            before = [end for each in depends[task_id] for end in ends.get(each, [])]
            ends[task_id] = self._task(
                tasks[task_id], uid, before or [uid], "SEQUENTIAL" if before else "PARALLEL"
            )
        needed = {each for names in depends.values() for each in names}
        return [end for task_id, found in ends.items() if task_id not in needed for end in found] or [uid]

    # --- what it consists of -------------------------------------------------------------------------------------

    def _node(self, uid: str, kind: str, **further: Any) -> None:
        node = {"uid": uid, "type": _PACKAGE + kind, **further}
        if self._branch is not None:
            node["branchType"] = self._branch
        self._nodes.append(node)
        if self._around:
            self._around[-1]["nodes"].append(uid)

    def _join(self, sources: Sequence[str], target: str, relation: str, value: str | None = None) -> None:
        shown = {"relationType": relation} if value is None else {"relationType": relation, "value": value}
        for source in dict.fromkeys(sources):
            self._edges.append({"source": source, "target": target, "relation": shown})

    @contextmanager
    def _cluster(self, uid: str, kind: str, start: str, end: str, task: Task | None = None) -> Iterator[None]:
        shown: dict[str, Any] = {"uid": f"cluster_{uid}", "type": _PACKAGE + kind}
        if task is not None:
            shown["taskNode"] = {"uid": uid, "type": f"{_PACKAGE}GraphTask", "task": _shown(task)}
        if self._branch is not None:
            shown["branchType"] = self._branch
        cluster = {
            "cluster": shown,
            "nodes": [],
            "parents": [each["cluster"]["uid"] for each in self._around],
            "start": start,
            "end": end,
        }
        self._clusters.append(cluster)
        self._around.append(cluster)
        try:
            yield
        finally:
            self._around.pop()

    @contextmanager
    def _within(self, branch: str) -> Iterator[None]:
        before, self._branch = self._branch, branch
        try:
            yield
        finally:
            self._branch = before


def _shown(task: Task) -> dict[str, Any]:
    """A task as it was written, a flowable one without the tasks inside: they are nodes of their own."""
    left_out = set()
    if isinstance(task, FlowableTask) and not isinstance(task, Subflow):
        left_out = set(type(task).model_fields) - set(Task.model_fields)
    return task.model_dump(
        mode="json", by_alias=True, exclude_unset=True, exclude_none=True, exclude=left_out
    )
