"""What a flow may say that this version does not run yet: told when an execution is created, never ignored."""

from __future__ import annotations

from collections.abc import Iterator

from flowtide.expressions import IO_FUNCTIONS, references_of
from flowtide.model.flow import AssertionSla, Flow
from flowtide.model.plugin_versions import refused_version
from flowtide.model.source import ParsedFlow
from flowtide.model.task import Task
from flowtide.model.trigger import PollingTrigger, WorkerTrigger
from flowtide.model.triggers.dated import DatedTrigger
from flowtide.model.triggers.flow import FlowTrigger
from flowtide.model.triggers.webhook import Webhook

_WITHOUT_WORKER = (DatedTrigger, Webhook, FlowTrigger)
"""Triggers that no worker evaluates, so that they have no use for a worker group."""


def unsupported(flow: Flow) -> list[str]:
    """The properties of the flow that would be ignored, by their YAML paths; empty when it runs as written."""
    found = [
        f"sla `{sla.id}`: an assertion that reads data from outside"
        for sla in flow.sla
        if isinstance(sla, AssertionSla) and references_of(sla.assert_).functions & IO_FUNCTIONS
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
        if not isinstance(trigger, DatedTrigger | WorkerTrigger | Webhook | FlowTrigger)
    ]
    for trigger in flow.triggers:
        if isinstance(trigger, FlowTrigger):
            found += _of_flow_trigger(trigger)
    for trigger in flow.triggers:
        for name, used in (
            ("logToFile", trigger.log_to_file and not isinstance(trigger, PollingTrigger)),
            ("workerGroup", trigger.worker_group is not None and isinstance(trigger, _WITHOUT_WORKER)),
        ):
            if used:
                found.append(f"trigger `{trigger.id}`: {name} has no effect in this version")
        group = trigger.worker_group
        if isinstance(trigger, WorkerTrigger) and group is not None and group.fallback != "WAIT":
            found.append(
                f"trigger `{trigger.id}`: workerGroup.fallback {group.fallback} has no effect in this version: "
                "its evaluations wait for a worker of the group"
            )
        installed = refused_version(trigger, trigger.version)
        if installed is not None:
            found.append(
                f"trigger `{trigger.id}`: it runs with version {installed}, which is installed, and not with "
                f"{trigger.version}"
            )
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
    installed = refused_version(task, task.version)
    if installed is not None:
        yield f"version {task.version} ({installed} is installed)"
