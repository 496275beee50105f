"""ForEachItem: an execution of another flow for each batch of a file, in three helper tasks (FLO-17 to FLO-19).

`<id>_split` cuts the file on a worker, `<id>_items` starts the executions, a `<id>_batch` each.  What they gave is
written to files by `<id>_gather` on workers, in portions as batches end, and put together by `<id>_merge`.
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

    rows: Annotated[int, Field(title="Lines of a batch", ge=1)] | Annotated[str, Field(pattern=r"\{")] = (
        1  # lines of a batch
    )
    bytes: Annotated[str | None, Field(title="The size of a batch, such as `10MB`")] = (
        None  # size of a batch, such as 10MB; a longer line is a batch of its own
    )
    partitions: (
        Annotated[int, Field(title="The number of batches", ge=1)]
        | Annotated[str, Field(pattern=r"\{")]
        | None
    ) = None  # number of batches; lines are dealt out in turn
    separator: Annotated[str, Field(title="What ends an item")] = "\n"  # between lines
    regex_pattern: Annotated[
        str | None, Field(title="A pattern whose first group chooses the batch of an item")
    ] = None  # lines with the same first group are a batch; others are left out


class SplitItems(RunnableTask):
    """Cuts the file into batches; outputs `splits`, the URI of the list of their URIs, and `numberOfBatches`."""

    title: ClassVar[str] = "Cut the file of a ForEachItem into batches."

    items: str
    batch: Batch = Batch()


class GatherOutputs(RunnableTask):
    """Writes the outputs of a portion of the batches to a file; outputs `uri`, and the last one `listed`.

    They travel with the job as `batches`, number -> outputs, and with the last one the URIs before as `portions`.
    """

    title: ClassVar[str] = "Store what executions of a ForEachItem gave."

    batches: str  # id of the task that starts the executions


class MergeOutputs(RunnableTask):
    """Puts the files that hold the outputs of batches together; outputs `subflowOutputs`, the URI of the whole.

    The URI of their list travels with the job as `gathered`; it is null when no batch gave anything.
    """

    title: ClassVar[str] = "Gather what the executions of a ForEachItem gave."

    batches: str  # id of the task that starts the executions


class BatchExecution(Subflow):
    """The execution of one batch."""

    title: ClassVar[str] = "Run the flow of a ForEachItem for one batch."
    aliases: ClassVar[tuple[str, ...]] = ()


class ItemExecutions(FlowableTask):
    """Starts an execution for each batch; outputs `iterations`, how many are in which state, `numberOfBatches`, `uri`.

    `uri` is the list of the files that hold what the executions gave; it is there at the end.
    """

    construct: ClassVar[str] = "items"
    title: ClassVar[str] = "Run the flow of a ForEachItem for all batches."
    aliases: ClassVar[tuple[str, ...]] = ()

    split: str  # id of the task that cut the file
    execution: BatchExecution
    gather: GatherOutputs

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": [self.execution], "gather": [self.gather]}


class ForEachItem(FlowableTask):
    """Runs another flow for each batch of the lines of a file (FLO-17)."""

    construct: ClassVar[str] = "sequential"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "numberOfBatches": ("integer", "The number of batches"),
        "iterations": ("object", "How many executions are in each state"),
        "subflowOutputs": (
            "string",
            "The file with the outputs of the executions",
        ),
    }
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

    items: Annotated[str, Field(title="The URI of the file with the items")]  # a `kestra://` URI
    batch: Annotated[Batch, Field(title="How the file is cut")] = Batch()
    namespace: Annotated[str, Field(title="The namespace of the flow to run")]
    flow_id: Annotated[str, Field(title="The id of the flow to run")]
    revision: Annotated[int | None, Field(title="Its revision; the latest by default")] = None
    inputs: Annotated[
        Mapping[str, Any], Field(title="Its inputs; `taskrun.items` is the URI of the batch")
    ] = {}  # rendered for each batch, with `taskrun.items` and `taskrun.iteration`
    labels: Annotated[Labels, Field(title="Labels of the executions")] = ()
    inherit_labels: Annotated[bool, Field(title="Whether they get the labels of this execution")] = False
    wait: Annotated[bool, Field(title="Whether the task waits for them")] = True
    transmit_failed: Annotated[bool, Field(title="Whether it fails when one of them does")] = True
    schedule_date: Annotated[
        str | None,
        Field(
            title="When they start",
            validation_alias=AliasChoices("scheduleDate", "scheduleOn", "schedule_date"),
        ),
    ] = None
    restart_behavior: Annotated[
        Literal["RETRY_FAILED", "NEW_EXECUTION"], Field(title="What a restart does to those that failed")
    ] = "RETRY_FAILED"

    @cached_property
    def helpers(self) -> Sequence[Task]:
        """The three tasks that it consists of; the second one holds two more."""
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
        split, items = f"{self.id}_split", f"{self.id}_items"
        return (
            SplitItems(id=split, type=f"{_TYPE}$ForEachItemSplit", items=self.items, batch=self.batch),
            ItemExecutions(
                id=items,
                type=f"{_TYPE}$ForEachItemExecutable",
                split=split,
                execution=execution,
                gather=GatherOutputs(
                    id=f"{self.id}_gather", type=f"{_TYPE}$ForEachItemGatherOutputs", batches=items
                ),
            ),
            MergeOutputs(
                id=f"{self.id}_merge",
                type=f"{_TYPE}$ForEachItemMergeOutputs",
                batches=items,
            ),
        )

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.helpers}


HELPER_SUFFIXES = ("_split", "_items", "_batch", "_gather", "_merge")
"""What the ids of the tasks that a ForEachItem consists of end with."""


def batch_name(number: int) -> str:
    """The file of a batch, beside the list of all of them; counted from 0."""
    return f"batch-{number}.ion"
