"""Tasks that change the execution they run in: their YAML properties (RUN-05 to RUN-07, pages 466 and 487).

The engine decides them, no worker runs them; they are flowable tasks without tasks of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from flowtide.model.labels import Labels as LabelList
from flowtide.model.task import AnyTask, FlowableTask, Task


class ExecutionTask(FlowableTask):
    """What changes the execution; it is over at once and has no lists of tasks."""

    construct: ClassVar[str]  # told again: mypy would compare with a deprecated method of pydantic

    errors: Annotated[Sequence[AnyTask], Field(title="None: it has no tasks", max_length=0)] = ()
    finally_: Annotated[
        Sequence[AnyTask], Field(title="None: it has no tasks", alias="finally", max_length=0)
    ] = ()

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {}


class Labels(ExecutionTask):
    """Adds labels to the execution, or gives them other values; labels of the system stay (RUN-05, LAB-06).

    A map has fixed keys and rendered values, of a list both are rendered.
    """

    construct: ClassVar[str] = "labels"
    title: ClassVar[str] = "Set labels of the execution."
    example: ClassVar[str] = """\
id: label_by_result
namespace: company.team
labels:
  song: never_gonna_give_you_up
tasks:
  - id: get
    type: io.kestra.plugin.core.debug.Return
    format: never_gonna_stop
  - id: update_labels
    type: io.kestra.plugin.core.execution.Labels
    labels:
      song: "{{ outputs.get.value }}"
      artist: rick_astley
"""
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.executions.Labels",)

    labels: Annotated[
        LabelList | str, Field(title="The labels: a map, a list of `{key, value}`, or an expression")
    ]  # a text is an expression that gives a map or a list


class SetVariables(ExecutionTask):
    """Sets variables of the execution; keys of nested maps that are not named stay (RUN-06).

    With `overwrite: false` it fails when one of them is there already, and then sets none.
    """

    construct: ClassVar[str] = "set_variables"
    title: ClassVar[str] = "Set variables of the execution."
    example: ClassVar[str] = """\
id: variables_demo
namespace: company.team
variables:
  state: FAILED
  nested:
    child: property
    unchanged: stay the same
tasks:
  - id: update
    type: io.kestra.plugin.core.execution.SetVariables
    variables:
      state: SUCCESS
      nested:
        child: new value
  - id: confirm
    type: io.kestra.plugin.core.log.Log
    message: "{{ vars }}"
"""

    variables: Annotated[Mapping[str, Any], Field(title="The variables and their values")]
    overwrite: Annotated[
        bool | str, Field(title="Whether a variable that is there already is changed; if not, the task fails")
    ] = True


class UnsetVariables(ExecutionTask):
    """Removes variables of the execution; `a.b` removes `b` within `a` only (RUN-07).

    One that is not there fails the task unless `ignoreMissing` is set; then none is removed.
    """

    construct: ClassVar[str] = "unset_variables"
    title: ClassVar[str] = "Remove variables of the execution."
    example: ClassVar[str] = """\
id: forget_variables
namespace: company.team
variables:
  ticket: "1234"
  nested:
    child: one
    unchanged: two
tasks:
  - id: forget
    type: io.kestra.plugin.core.execution.UnsetVariables
    variables:
      - ticket
      - nested.child
  - id: confirm
    type: io.kestra.plugin.core.log.Log
    message: "{{ vars }}"
"""

    variables: Annotated[
        Sequence[str] | str, Field(title="The names of the variables")
    ]  # a text is an expression that gives a list
    ignore_missing: Annotated[
        bool | str, Field(title="Whether a variable that is not there is passed over")
    ] = False
