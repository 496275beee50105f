"""The tasks of a ForEachItem that workers run: cutting the file, and gathering what its batches gave (FLO-18)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from flowtide.errors import ExpressionError, TaskFailed
from flowtide.expressions.iontext import to_ion
from flowtide.model.flowables.for_each_item import MergeOutputs, SplitItems, batch_name
from flowtide.model.task import RunContext
from flowtide.plugins.tasks.storage.stored_parts import store_parts


class ForEachItemSplit(SplitItems):
    """Cut the file of a ForEachItem into batches."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    uses_files: ClassVar[bool] = True

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `splits`, the URI of the list of the batches' URIs, and `numberOfBatches`."""
        uri = await context.evaluate(self.items, typed=False)
        if not isinstance(uri, str) or not uri.startswith("kestra://"):
            raise TaskFailed(
                f"`items` must be the URI of a stored file (kestra://...), not {str(uri)[:100]!r}"
            )
        given = await context.evaluate(
            self.batch.model_dump(mode="json", by_alias=True, exclude_none=True), typed=False
        )
        batches = await store_parts(context, uri, given, batch_name)
        listed = "".join(f"{each}\n" for each in batches).encode()
        return {"splits": await context.put_bytes(listed, "splits.txt"), "numberOfBatches": len(batches)}


class ForEachItemMergeOutputs(MergeOutputs):
    """Gather in a file what the executions of a ForEachItem gave, a line each, in the order of the batches."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `subflowOutputs`, the URI of the file."""
        batches: dict[str, Any] = dict(context.variables.get("batches") or {})
        try:
            lines = [to_ion(batches[number]) for number in sorted(batches, key=int)]
        except ExpressionError as error:
            raise TaskFailed(f"what a batch gave cannot be written as Ion: {error}") from error
        content = "".join(f"{line}\n" for line in lines).encode()
        return {"subflowOutputs": await context.put_bytes(content, "outputs.ion")}
