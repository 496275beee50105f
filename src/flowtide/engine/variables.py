"""What expressions see: the root variables of an execution and a task run (catalogue C §2), whole or as far as named.

The executor renders against the live state, without copying.  A job takes along only what its task's expressions name,
so that its size does not grow with the execution.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from flowtide.engine.execution import ROOT, Execution, Run
from flowtide.engine.needs import EVERYTHING
from flowtide.engine.plan import Plan, TaskPlan
from flowtide.expressions import Ref, References
from flowtide.model.offload import MARKER
from flowtide.model.records import format_date

Path = tuple[str | Ref, ...]

WORKERS_OWN = frozenset({"envs", "globals", "kestra"})
"""Roots that every server adds from its own configuration; they do not travel."""


def variables_of(
    execution: Execution,
    plan: Plan,
    task: TaskPlan | None,
    run: Run | None,
    needed: Container[str] = EVERYTHING,
) -> dict[str, Any]:
    """The root variables as a task run sees them; `task` and `run` are None for the flow itself.

    Roots that are not `needed` may be missing.
    """
    head = execution.head
    progress = execution.progress
    roots: dict[str, Any] = {
        **plan.instance_variables,
        "inputs": head.inputs,
        "outputs": execution.outputs,
        "vars": head.variables,
        "namespace": plan.namespace_variables,
        "tasks": execution.task_states,
    }
    if head.trigger is not None:
        roots["trigger"] = head.trigger.variables
    if "labels" in needed:
        roots["labels"] = execution.labels()
    if "flow" in needed:
        roots["flow"] = {
            "id": head.flow_id,
            "namespace": head.namespace,
            "revision": head.flow_revision,
            "tenantId": head.tenant,
        }
    if "execution" in needed:
        roots["execution"] = {
            "id": head.execution_id,
            "startDate": format_date(progress.started or head.created),
            "state": progress.state.value,
            "originalId": head.original_id or head.execution_id,
        }
    if task is not None and run is not None:
        if "task" in needed:
            roots["task"] = {"id": task.id, "type": task.type}
        if "taskrun" in needed:
            roots["taskrun"] = _task_run(run)
        if run.parent_id != ROOT and ("parent" in needed or "parents" in needed):
            parents = _parents(execution, run)
            roots["parents"] = parents
            if parents:
                roots["parent"] = parents[0]
    return roots


def selected(roots: Mapping[str, Any], references: References) -> dict[str, Any]:
    """The part of `roots` that the references name; all of it when they cannot be told in advance.

    What is missing in `roots` is missing in the answer too, so that an expression fails alike.
    """
    if references.dynamic:
        return {name: value for name, value in roots.items() if name not in WORKERS_OWN}
    chosen: dict[str, Any] = {}
    for path in references.paths:
        if path[0] in WORKERS_OWN:
            continue
        _copy(roots, chosen, path, roots)
        if path[0] == "outputs" and "outputs" in path[2:]:
            # With what a subflow gave goes whose execution it was, so that the worker reads its files.
            task_run = path[: path.index("outputs", 2)]
            for name in ("executionId", "state"):
                _copy(roots, chosen, (*task_run, name), roots)
    return chosen


def _task_run(run: Run) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": run.run_id,
        "startDate": format_date(run.started or run.created),
        "attemptsCount": run.attempt,
    }
    if run.parent_id != ROOT:
        shown["parentId"] = run.parent_id
    if run.value is not None:
        shown["value"] = run.value
    if run.iteration is not None:
        shown["iteration"] = run.iteration
    if run.items is not None:
        shown["items"] = run.items
    return shown


def _parents(execution: Execution, run: Run) -> list[dict[str, Any]]:
    shown = []
    for parent in execution.parents(run):
        # A parent with neither a value nor outputs is left out (V19).
        if parent.value is None and not parent.outputs:
            continue
        entry: dict[str, Any] = {"task": {"id": parent.task_id}, "outputs": parent.outputs or {}}
        entry["taskrun"] = _task_run(parent)
        shown.append(entry)
    return shown


def _copy(source: Any, target: dict[str, Any], path: Path, roots: Mapping[str, Any]) -> None:
    """Copy what `path` names from `source` into `target`, sharing what lies below its end."""
    for position, element in enumerate(path):
        key = _key(element, roots)
        if not isinstance(source, Mapping) or not isinstance(key, str) or key not in source:
            return
        value = source[key]
        rest = path[position + 1 :]
        # Outputs that were stored travel as their marker; what the path names below is in the file.
        if not rest or not isinstance(value, Mapping) or MARKER in value:
            target[key] = value
            return
        existing = target.get(key)
        if existing is value:
            return  # a shorter path took it whole
        if existing is None:
            existing = target[key] = {}
        source, target = value, existing


def _key(element: str | Ref, roots: Mapping[str, Any]) -> Any:
    if isinstance(element, str):
        return element
    value: Any = roots
    for name in element.path:
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value if isinstance(value, str) else str(value)
