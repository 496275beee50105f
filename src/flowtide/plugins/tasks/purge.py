"""`core.execution.PurgeExecutions` and `core.log.PurgeLogs`: what is old is removed for good (page 012)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.model.entries import Level
from flowtide.model.platform import ExecutionSelection, LogSelection
from flowtide.model.states import State
from flowtide.model.task import RunContext, RunnableTask
from flowtide.plugins.tasks.moments import moment

_NamespaceOrNone = Annotated[
    str | None,
    Field(title="The namespace", description="A template. Without `flowId`, also all namespaces below it."),
]
_FlowOrNone = Annotated[str | None, Field(title="The flow", description="A template; needs `namespace`.")]
_EndDate = Annotated[str, Field(title="What is older goes", description="ISO-8601; a template.")]
_StartDate = Annotated[str | None, Field(title="What is older than this stays", description="As `endDate`.")]


class PurgeExecutions(RunnableTask):
    """Remove what is left of executions: documents, log lines, metrics and files.

    Executions that are not over stay.  Log lines of triggers are removed by `core.log.PurgeLogs` (PURGE-1).
    """

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "executionsCount": ("integer", "How many executions were removed"),
        "logsCount": ("integer", "How many log lines"),
        "metricsCount": ("integer", "How many metrics"),
        "storagesCount": ("integer", "How many files"),
    }
    title: ClassVar[str] = "Remove old executions"
    aliases: ClassVar[tuple[str, ...]] = (
        "io.kestra.plugin.core.storage.Purge",
        "io.kestra.core.tasks.storages.Purge",
    )
    example: ClassVar[str] = """\
id: keep_one_month
namespace: system
tasks:
  - id: purge
    type: io.kestra.plugin.core.execution.PurgeExecutions
    endDate: "{{ now() | dateAdd(-1, 'MONTHS') }}"
    states: [SUCCESS, WARNING]
"""

    end_date: _EndDate
    start_date: _StartDate = None
    namespace: _NamespaceOrNone = None
    flow_id: _FlowOrNone = None
    states: Annotated[
        list[State], Field(title="Only executions that ended so", description="None: all.")
    ] = []
    purge_execution: Annotated[bool | str, Field(title="Whether the executions go")] = True
    purge_log: Annotated[bool | str, Field(title="Whether their log lines go")] = True
    purge_metric: Annotated[bool | str, Field(title="Whether their metrics go")] = True
    purge_storage: Annotated[bool | str, Field(title="Whether their files go")] = True
    batch_size: Annotated[int, Field(ge=1, le=10_000, title="How many executions go at once")] = 100

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `executionsCount`, `logsCount`, `metricsCount` and `storagesCount`."""
        namespace, flow_id = await _flow(self.namespace, self.flow_id, context)
        selection = ExecutionSelection(
            namespace=namespace,
            flow_id=flow_id,
            states=self.states,
            begins=await moment("startDate", self.start_date, context),
            ends=await _end(self.end_date, context),
        )
        removed = await context.platform.records.purge_executions(
            selection,
            executions=await _flag(self.purge_execution, context),
            logs=await _flag(self.purge_log, context),
            metrics=await _flag(self.purge_metric, context),
            files=await _flag(self.purge_storage, context),
            batch=self.batch_size,
        )
        lines = context.logger
        lines.info(
            "Removed: {} executions, {} log lines, {} metrics, {} files",
            removed.executions,
            removed.logs,
            removed.metrics,
            removed.files,
        )
        return {
            "executionsCount": removed.executions,
            "logsCount": removed.logs,
            "metricsCount": removed.metrics,
            "storagesCount": removed.files,
        }


class PurgeLogs(RunnableTask):
    """Remove log lines in bulk, of executions and of triggers (PURGE-2)."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "count": ("integer", "How many lines were removed"),
    }
    title: ClassVar[str] = "Remove old log lines"
    example: ClassVar[str] = """\
id: keep_logs_one_month
namespace: system
tasks:
  - id: purge
    type: io.kestra.plugin.core.log.PurgeLogs
    endDate: "{{ now() | dateAdd(-1, 'MONTHS') }}"
    logLevels: [TRACE, DEBUG]
"""

    end_date: _EndDate
    start_date: _StartDate = None
    namespace: _NamespaceOrNone = None
    flow_id: _FlowOrNone = None
    execution_id: Annotated[str | None, Field(title="Only lines of this execution")] = None
    log_levels: Annotated[
        list[Level], Field(title="Only lines of these levels", description="None: all.")
    ] = []

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `count`."""
        namespace, flow_id = await _flow(self.namespace, self.flow_id, context)
        selection = LogSelection(
            namespace=namespace,
            flow_id=flow_id,
            execution_id=await context.evaluate(self.execution_id),
            levels=self.log_levels,
            begins=await moment("startDate", self.start_date, context),
            ends=await _end(self.end_date, context),
        )
        count = await context.platform.records.purge_logs(selection)
        lines = context.logger
        lines.info("Removed: {} log lines", count)
        return {"count": count}


async def _flow(
    namespace: str | None, flow_id: str | None, context: RunContext
) -> tuple[str | None, str | None]:
    namespace, flow_id = await context.evaluate(namespace), await context.evaluate(flow_id)
    if flow_id is not None and namespace is None:
        raise TaskFailed(
            "property `flowId` needs `namespace`, because flows of several namespaces may have one id"
        )
    return namespace, flow_id


async def _end(template: str, context: RunContext) -> Any:
    found = await moment("endDate", template, context)
    if found is None:
        raise TaskFailed("property `endDate` is empty; without it, everything would be removed")
    return found


async def _flag(value: bool | str, context: RunContext) -> bool:
    return await context.evaluate(value) in (True, "true")
