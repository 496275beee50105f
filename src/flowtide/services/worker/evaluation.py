"""Expressions with input or output that a flowable task needs: an `Evaluate` job comes in, its report goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowtide.expressions import Scope
from flowtide.log.port import Message
from flowtide.model.jobs import Evaluate
from flowtide.secrets import Mask
from flowtide.services.worker.context import ancestors_of
from flowtide.services.worker.encrypted import mentions_encrypted, open_encrypted, protected_values
from flowtide.services.worker.functions import input_output_functions
from flowtide.services.worker.outputs import mentions_offloaded, resolve_outputs
from flowtide.services.worker.preparation import variables_of
from flowtide.services.worker.reports import described
from flowtide.services.worker.templates import render_typed
from flowtide.storage import ExecutionFolder

if TYPE_CHECKING:
    from flowtide.services.worker.attempt import Tools


async def evaluate_job(job: Evaluate, tools: Tools) -> Message:
    """Render the expressions in a thread and say what they are, or why they could not be rendered."""
    from flowtide.services.worker.attempt import in_thread

    mask = Mask()
    given = Mask()  # only what was encrypted in the variables
    limit = tools.settings.outputs_limit_bytes
    try:
        variables = variables_of(job, tools.base_variables)
        ancestors = ancestors_of(job, variables)
        folder = ExecutionFolder(job.flow.namespace, job.flow.id, job.execution_id)
        if mentions_offloaded(job.variables):
            await resolve_outputs(
                variables, tenant_id=job.tenant_id, folder=folder, ancestors=ancestors, storage=tools.storage
            )
        if mentions_encrypted(job.variables) or mentions_offloaded(job.variables):
            open_encrypted(variables, tools.cipher, tenant_id=job.tenant_id, masks=(mask, given))
        functions = input_output_functions(
            tenant_id=job.tenant_id,
            folder=folder,
            ancestors=ancestors,
            storage=tools.storage.blocking,
            secrets=tools.secrets,
            on_secret=mask.add,
            platforms=tools.platforms,
        )
        scope = Scope(
            variables,
            functions=functions,
            now=tools.clock.now,
            random=tools.random,
            recursive=tools.settings.recursive_rendering,
            on_secret=mask.add,
            limits=tools.settings.limits,
        )

        def render() -> dict[str, Any]:
            return {name: render_typed(template, scope) for name, template in job.expressions.items()}

        values = await in_thread(render, name=f"evaluate-{job.run_id[:8]}")
        values = protected_values(job, values, tools.cipher, given=given, secrets=mask)
        message = tools.reports.evaluated(job, tools.clock.now(), values, None)
    except Exception as error:
        text = mask.mask(described(error, job.expressions))
        return tools.reports.evaluated(job, tools.clock.now(), {}, text)
    if len(message.value or b"") > limit:
        text = f"the values are larger than {limit} bytes; pass a file or name less"
        return tools.reports.evaluated(job, tools.clock.now(), {}, text)
    return message
