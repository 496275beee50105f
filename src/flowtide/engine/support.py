"""What a flow may say that this version does not run yet: told when an execution is created, never ignored."""

from __future__ import annotations

from collections.abc import Iterator

from flowtide.model.flow import Flow
from flowtide.model.source import ParsedFlow
from flowtide.model.task import Task
from flowtide.model.triggers.flow import FlowTrigger
from flowtide.model.triggers.schedule import Schedule
from flowtide.model.triggers.webhook import Webhook


def unsupported(flow: Flow) -> list[str]:
    """The properties of the flow that would be ignored, by their YAML paths; empty when it runs as written."""
    found = [
        name
        for name, used in (
            ("sla", bool(flow.sla)),
            ("workerGroup", flow.worker_group is not None),
        )
        if used
    ]
    for task in flow.all_tasks():
        found += [f"task `{task.id}`: {name}" for name in _of_task(task)]
    return found


def warn_of_unsupported(parsed: ParsedFlow) -> ParsedFlow:
    """Add a warning for all that keeps a valid flow from running, and for triggers that never fire."""
    if parsed.flow is not None:
        parsed.warnings.extend(_warnings(parsed.flow))
    return parsed


def _warnings(flow: Flow) -> list[str]:
    found = [f"{name} is not run by this version: executions of this flow fail" for name in unsupported(flow)]
    found += [
        f"trigger `{trigger.id}`: this version does not fire triggers of type {trigger.type} yet"
        for trigger in flow.triggers
        if not isinstance(trigger, Schedule | Webhook | FlowTrigger)
    ]
    for trigger in flow.triggers:
        if isinstance(trigger, FlowTrigger):
            found += _of_flow_trigger(trigger)
    for trigger in flow.triggers:
        for name, used in (
            ("logToFile", trigger.log_to_file),
            ("workerGroup", trigger.worker_group is not None),
            ("version", trigger.version is not None),
        ):
            if used:
                found.append(f"trigger `{trigger.id}`: {name} has no effect in this version")
    return found


def refusal(properties: list[str]) -> str:
    """The sentence that an execution fails with."""
    return (
        f"This version of Flowtide cannot run this flow yet, because it uses {', '.join(properties)}. "
        "Remove what it does not need, or see docs/reference/compatibility.md for what is coming."
    )


def _of_flow_trigger(trigger: FlowTrigger) -> Iterator[str]:
    if "allow_concurrent" in trigger.model_fields_set and not trigger.allow_concurrent:
        yield (
            f"trigger `{trigger.id}`: allowConcurrent has no effect on a Flow trigger, which fires for every "
            "execution; limit the flow with `concurrency`"
        )
    if any(trigger.selecting_labels()):
        yield (
            f"trigger `{trigger.id}`: it fires only for executions that carry all of its `labels`, and gives "
            "them to those that it starts"
        )


def _of_task(task: Task) -> Iterator[str]:
    if task.worker_group is not None:
        yield "workerGroup"
    if task.task_cache is not None and task.task_cache.enabled:
        yield "taskCache"
    if task.version is not None:
        yield "version"
