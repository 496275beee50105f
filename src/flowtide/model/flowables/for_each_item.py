"""ForEachItem: an execution of another flow for each batch of a file, in three helper tasks (FLO-17 to FLO-19).

`<id>_split` cuts the file on a worker, `<id>_items` starts the executions, a `<id>_batch` each, and `<id>_merge`
gathers on a worker what they gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field

from flowtide.model.flowables.subflow import Subflow
from flowtide.model.labels import Labels
from flowtide.model.plugin import Part
from flowtide.model.task import FlowableTask, RunnableTask, Task

_TYPE = "io.kestra.plugin.core.flow.ForEachItem"


class Batch(Part):
    """How the lines of a file are cut; of several, `regexPattern` wins, then `bytes`, `partitions` and `rows`."""

    rows: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"\{")] = 1  # lines of a batch
    bytes: str | None = None  # size of a batch, such as 10MB; a longer line is a batch of its own
    partitions: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"\{")] | None = (
        None  # number of batches; lines are dealt out in turn
    )
    separator: str = "\n"  # between lines
    regex_pattern: str | None = None  # lines with the same first group are a batch; others are left out


class SplitItems(RunnableTask):
    """Cuts the file into batches; outputs `splits`, the URI of the list of their URIs, and `numberOfBatches`."""

    title: ClassVar[str] = "Cut the file of a ForEachItem into batches."

    items: str
    batch: Batch = Batch()


class MergeOutputs(RunnableTask):
    """Gathers the outputs of all batches in a file; outputs `subflowOutputs`, its URI."""

    title: ClassVar[str] = "Gather what the executions of a ForEachItem gave."

    batches: (
        str  # id of the task whose runs gave them; they travel with the job as `batches`, number -> outputs
    )


class BatchExecution(Subflow):
    """The execution of one batch."""

    title: ClassVar[str] = "Run the flow of a ForEachItem for one batch."
    aliases: ClassVar[tuple[str, ...]] = ()


class ItemExecutions(FlowableTask):
    """Starts an execution for each batch; outputs `iterations`, how many ended in which state, `numberOfBatches`."""

    construct: ClassVar[str] = "items"
    title: ClassVar[str] = "Run the flow of a ForEachItem for all batches."
    aliases: ClassVar[tuple[str, ...]] = ()

    split: str  # id of the task that cut the file
    execution: BatchExecution

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": [self.execution]}


class ForEachItem(FlowableTask):
    """Runs another flow for each batch of the lines of a file (FLO-17)."""

    construct: ClassVar[str] = "sequential"
    title: ClassVar[str] = "Run another flow for each batch of a file."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.flows.ForEachItem",)
    example: ClassVar[str] = """\
id: for-each-item
namespace: company.team

inputs:
  - id: orders
    type: FILE

tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEachItem
    items: "{{ inputs.orders }}"
    batch:
      rows: 100
    namespace: company.team
    flowId: orders
    inputs:
      file: "{{ taskrun.items }}"
  - id: results
    type: io.kestra.plugin.core.log.Log
    message: "{{ outputs.each_merge.subflowOutputs }}"
"""

    items: str  # a `kestra://` URI
    batch: Batch = Batch()
    namespace: str
    flow_id: str
    revision: int | None = None
    inputs: Mapping[str, Any] = {}  # rendered for each batch, with `taskrun.items` and `taskrun.iteration`
    labels: Labels = ()
    inherit_labels: bool = False
    wait: bool = True
    transmit_failed: bool = True
    schedule_date: Annotated[
        str | None, Field(validation_alias=AliasChoices("scheduleDate", "scheduleOn", "schedule_date"))
    ] = None
    restart_behavior: Literal["RETRY_FAILED", "NEW_EXECUTION"] = "RETRY_FAILED"

    @cached_property
    def helpers(self) -> Sequence[Task]:
        """The three tasks that it consists of."""
        batch = f"{self.id}_batch"
        execution = BatchExecution(
            id=batch,
            type=f"{_TYPE}$BatchExecution",
            namespace=self.namespace,
            flow_id=self.flow_id,
            revision=self.revision,
            inputs=self.inputs,
            labels=self.labels,
            inherit_labels=self.inherit_labels,
            wait=self.wait,
            transmit_failed=self.transmit_failed,
            restart_behavior=self.restart_behavior,
            schedule_date=self.schedule_date,
        )
        split = f"{self.id}_split"
        return (
            SplitItems(id=split, type=f"{_TYPE}$ForEachItemSplit", items=self.items, batch=self.batch),
            ItemExecutions(
                id=f"{self.id}_items",
                type=f"{_TYPE}$ForEachItemExecutable",
                split=split,
                execution=execution,
            ),
            MergeOutputs(
                id=f"{self.id}_merge",
                type=f"{_TYPE}$ForEachItemMergeOutputs",
                batches=batch,
            ),
        )

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.helpers}


HELPER_SUFFIXES = ("_split", "_items", "_batch", "_merge")
"""What the ids of the tasks that a ForEachItem consists of end with."""


def batch_name(number: int) -> str:
    """The file of a batch, beside the list of all of them; counted from 0."""
    return f"batch-{number}.ion"
