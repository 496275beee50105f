"""Conditions: what must hold before a trigger starts an execution (CND-01 to CND-19).

A condition is data with one pure question; what it looks at is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

from flowtide.errors import FlowtideError
from flowtide.model.plugin import Plugin
from flowtide.model.records import Label
from flowtide.model.states import State
from flowtide.model.upstream import EVERYTHING, Patterns


def example_on_schedule(condition: str) -> str:
    """The example of a condition on dates; `condition` is a YAML map in one line."""
    return f"""\
id: on_some_days
namespace: company.team
tasks:
  - id: hello
    type: io.kestra.plugin.core.log.Log
    message: It is {{{{ trigger.date }}}}.
triggers:
  - id: schedule
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "0 9 * * *"
    conditions:
      - {condition}
"""


def example_on_executions(condition: str) -> str:
    """The example of a condition on executions upstream; `condition` is a YAML map in one line."""
    return f"""\
id: after_others
namespace: company.team
tasks:
  - id: hello
    type: io.kestra.plugin.core.log.Log
    message: "{{{{ trigger.flowId }}}} ended {{{{ trigger.state }}}}"
triggers:
  - id: upstream
    type: io.kestra.plugin.core.trigger.Flow
    conditions:
      - {condition}
"""


class UpstreamExecution(Protocol):
    """The execution that a flow trigger looks at; NoteExecutionState is one."""

    @property
    def execution_id(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def flow_id(self) -> str: ...
    @property
    def state(self) -> State: ...
    @property
    def labels(self) -> Sequence[Label]: ...
    @property
    def outputs(self) -> Mapping[str, Any]: ...
    @property
    def outputs_bytes(self) -> int: ...
    @property
    def retry_states(self) -> Sequence[State]: ...


class ConditionContext(Protocol):
    """What a condition may look at."""

    @property
    def execution(self) -> UpstreamExecution | None:
        """The upstream execution; None for schedules and webhooks."""
        ...

    def render(self, template: Any) -> Any:
        """Render keeping types, with `trigger`, `flow` and the like as variables.  Raises ExpressionError."""
        ...


class Circumstances:
    """What the conditions of a trigger may look at that has no execution upstream: its variables, and the flow."""

    execution: UpstreamExecution | None = None

    def __init__(self, render: Callable[[Any, Mapping[str, Any]], Any], variables: Mapping[str, Any]) -> None:
        self._render = render
        self._variables = variables

    def render(self, template: Any) -> Any:
        """Render keeping types, with these variables."""
        return self._render(template, self._variables)


class ConditionPlugin(Plugin):
    """The base of all conditions."""

    kind: ClassVar[Literal["condition"]] = "condition"
    needs_execution: ClassVar[bool] = False  # whether only a Flow trigger can have it

    def upstream(self) -> Patterns:
        """The executions of which it may hold; everything, unless it can be told from its properties."""
        return EVERYTHING

    def parts(self) -> Sequence[ConditionPlugin]:
        """The conditions that it is made of."""
        return ()

    def holds(self, context: ConditionContext) -> bool:
        """Whether it is met.  Raises ExpressionError, or ValueError for what cannot be compared."""
        raise NotImplementedError


def all_hold(
    conditions: Iterable[Plugin], context: ConditionContext, *, undecided: Callable[[str], FlowtideError]
) -> bool:
    """Whether all conditions of a trigger are met.

    Conditions come from plugins, and whatever goes wrong in one concerns this trigger only: it is raised as
    `undecided` makes it of a sentence; a FlowtideError is raised as it is.
    """
    for condition in conditions:
        if not isinstance(condition, ConditionPlugin):
            raise undecided(f"the condition {condition.type} cannot be used by this trigger")
        try:
            if not condition.holds(context):
                return False
        except FlowtideError:
            raise
        except Exception as error:
            raise undecided(f"condition {condition.type} cannot be decided: {error}") from error
    return True
