"""Dag: tasks with dependencies on one another (FLO-27)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field

from flowtide.model.plugin import Part
from flowtide.model.task import AnyTask, FlowableTask, Task


class DagNode(Part):
    """A task of a Dag, and the ids of those that must be over before it starts."""

    task: Annotated[AnyTask, Field(title="The task")]
    depends_on: Annotated[Sequence[str], Field(title="The ids of the tasks that must be over before")] = ()


class Dag(FlowableTask):
    """Runs each task when all that it depends on are over, at most `concurrent` at a time; 0 means all (FLO-27)."""

    construct: ClassVar[str] = "dag"
    title: ClassVar[str] = "Run tasks in the order of their dependencies."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.Dag",)
    example: ClassVar[str] = """\
id: dag
namespace: company.team

tasks:
  - id: dag
    type: io.kestra.plugin.core.flow.Dag
    tasks:
      - task: {id: first, type: io.kestra.plugin.core.log.Log, message: the first}
      - task: {id: left, type: io.kestra.plugin.core.log.Log, message: beside right}
        dependsOn: [first]
      - task: {id: right, type: io.kestra.plugin.core.log.Log, message: beside left}
        dependsOn: [first]
      - task: {id: last, type: io.kestra.plugin.core.log.Log, message: the last}
        dependsOn: [left, right]
"""

    tasks: Annotated[
        Sequence[DagNode], Field(title="The tasks, each with those that it depends on", min_length=1)
    ]
    concurrent: Annotated[int, Field(title="How many run at the same time; 0 means all", ge=0)] = 0

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": [node.task for node in self.tasks]}

    @cached_property
    def dependencies(self) -> Mapping[str, frozenset[str]]:
        """Task id -> those that must be over before; a disabled one hands on its own."""
        direct = {node.task.id: node.depends_on for node in self.tasks}
        disabled = {node.task.id for node in self.tasks if node.task.disabled}
        found: dict[str, frozenset[str]] = {}

        def of(task_id: str) -> frozenset[str]:
            if task_id not in found:
                mine: set[str] = set()
                for other in direct[task_id]:
                    mine |= of(other) if other in disabled else {other}
                found[task_id] = frozenset(mine)
            return found[task_id]

        return {task_id: of(task_id) for task_id in direct}


def dependency_faults(tasks: Sequence[Any]) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """What is wrong with `dependsOn` in the YAML of a Dag's `tasks`: (path below `tasks`, message).

    Tasks that depend on themselves, on none of the Dag's, or on each other in a circle.
    """
    known: dict[str, int] = {}
    depends: dict[str, list[str]] = {}
    for index, node in enumerate(tasks):
        task = node.get("task") if isinstance(node, Mapping) else None
        if isinstance(task, Mapping) and isinstance(task.get("id"), str | int | float):
            known[str(task["id"])] = index
    sound = True
    for task_id, index in known.items():
        given = tasks[index].get("dependsOn")
        depends[task_id] = []
        for position, other in enumerate(given if isinstance(given, list) else ()):
            name = str(other)
            place = (index, "dependsOn", position)
            if name == task_id:
                sound = False
                yield place, f"the task `{task_id}` must not depend on itself"
            elif name not in known:
                sound = False
                yield place, f"there is no task `{name}` in this Dag"
            else:
                depends[task_id].append(name)
    circle = _circle(depends) if sound else None
    if circle is not None:
        yield (
            (known[circle[0]], "dependsOn"),
            f"tasks depend on each other in a circle: {' -> '.join((*circle, circle[0]))}",
        )


def _circle(depends: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Ids that depend on each other in a circle; None when there is none.  Not recursive: a Dag may be deep."""
    done: set[str] = set()
    for start in depends:
        path: list[str] = []
        places: dict[str, int] = {}
        waiting = [(start, False)]
        while waiting:
            task_id, leave = waiting.pop()
            if leave:
                path.pop()
                del places[task_id]
                done.add(task_id)
            elif task_id in places:
                return path[places[task_id] :]
            elif task_id not in done:
                places[task_id] = len(path)
                path.append(task_id)
                waiting.append((task_id, True))
                waiting += [(other, False) for other in reversed(depends[task_id])]
    return None
