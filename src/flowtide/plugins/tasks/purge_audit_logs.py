"""`ee.core.log.PurgeAuditLogs`: old audit entries are removed for good (AUD-06, pages 107 and 317)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field

from flowtide.errors import TaskFailed
from flowtide.model.audit import AuditAction
from flowtide.model.platform import AuditSelection
from flowtide.model.task import RunContext, RunnableTask
from flowtide.plugins.tasks.moments import moment


class PurgeAuditLogs(RunnableTask):
    """Remove audit entries of the tenant by date, namespace, resource and action."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    title: ClassVar[str] = "Remove old audit entries"
    example: ClassVar[str] = """\
id: audit_log_cleanup
namespace: system
tasks:
  - id: purge_audit_logs
    type: io.kestra.plugin.ee.core.log.PurgeAuditLogs
    endDate: "{{ now() | dateAdd(-1, 'MONTHS') }}"
"""

    end_date: Annotated[str, Field(title="What is older goes", description="ISO-8601; a template.")]
    start_date: Annotated[
        str | None, Field(title="What is older than this stays", description="As `endDate`.")
    ] = None
    namespace: Annotated[
        str | None, Field(title="The namespace", description="A template; also all namespaces below it.")
    ] = None
    resources: Annotated[
        list[str],
        Field(
            title="Only entries about these",
            description="Such as FLOW or EXECUTION; none: all. Called `permissions` before 1.0.",
            validation_alias=AliasChoices("resources", "permissions"),
        ),
    ] = []
    actions: Annotated[
        list[AuditAction], Field(title="Only entries of these actions", description="None: all.")
    ] = []

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `count`."""
        ends = await moment("endDate", self.end_date, context)
        if ends is None:
            raise TaskFailed("property `endDate` is empty; without it, everything would be removed")
        selection = AuditSelection(
            namespace=await context.evaluate(self.namespace),
            resources=[str(name).upper() for name in self.resources],
            actions=[action.value for action in self.actions],
            begins=await moment("startDate", self.start_date, context),
            ends=ends,
        )
        count = await context.platform.records.purge_audit_logs(selection)
        lines = context.logger
        lines.info("Removed: {} audit entries", count)
        return {"count": count}
