"""Conditions that stand where they can never be decided: a flow in, paths and messages out (CND-16, CND-18)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flowtide.model.condition import ConditionPlugin
from flowtide.model.conditions.multiple import MultipleCondition
from flowtide.model.documents import PathStep
from flowtide.model.flow import Flow
from flowtide.model.plugin import Plugin
from flowtide.model.triggers.flow import FlowTrigger

Path = tuple[PathStep, ...]


def misplaced_conditions(flow: Flow) -> Iterator[tuple[Path, str]]:
    """The path of the `type` of each such condition, and what is wrong."""
    for index, trigger in enumerate(flow.triggers):
        for name, field in (("conditions", "conditions"), ("scheduleConditions", "schedule_conditions")):
            path: Path = ("triggers", index, name)
            yield from _misplaced(getattr(trigger, field, ()), path, trigger, outermost=True)


def _misplaced(
    conditions: Sequence[Plugin] | Mapping[str, Plugin], path: Path, trigger: Plugin, *, outermost: bool
) -> Iterator[tuple[Path, str]]:
    places: list[tuple[PathStep, Plugin]] = (
        list(conditions.items()) if isinstance(conditions, Mapping) else list(enumerate(conditions))
    )
    for step, condition in places:
        if not isinstance(condition, ConditionPlugin):
            continue
        if condition.needs_execution and not isinstance(trigger, FlowTrigger):
            yield (
                (*path, step, "type"),
                f"looks at an execution upstream, which only a Flow trigger has, and not {trigger.type}",
            )
        elif isinstance(condition, MultipleCondition) and not outermost:
            yield (*path, step, "type"), "must stand directly among the conditions of a Flow trigger"
        else:
            within = getattr(condition, "conditions", ())
            yield from _misplaced(within, (*path, step, "conditions"), trigger, outermost=False)
