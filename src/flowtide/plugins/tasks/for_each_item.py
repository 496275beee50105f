"""The tasks of a ForEachItem that workers run: cutting the file, and gathering what its batches gave (FLO-18).

A portion holds a line a batch: its number, a tab, and its outputs as Ion.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from flowtide.errors import ExpressionError, TaskFailed
from flowtide.expressions.iontext import to_ion
from flowtide.model.flowables.for_each_item import GatherOutputs, MergeOutputs, SplitItems, batch_name
from flowtide.model.task import RunContext
from flowtide.plugins.tasks.storage.stored_parts import store_parts

_AT_ONCE: Final = 16  # portions that are fetched at the same time


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


class ForEachItemGatherOutputs(GatherOutputs):
    """Store what some of the executions of a ForEachItem gave, and at last the list of all that was stored."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `uri`, the file of the portion, and of the last one `listed`, the file that lists all."""
        batches: dict[str, Any] = dict(context.variables.get("batches") or {})
        portions: list[str] | None = context.variables.get("portions")
        gave: dict[str, Any] = {}
        if batches:
            try:
                lines = [f"{number}\t{to_ion(batches[number])}\n" for number in sorted(batches, key=int)]
            except ExpressionError as error:
                raise TaskFailed(f"what a batch gave cannot be written as Ion: {error}") from error
            content = "".join(lines).encode()
            gave["uri"] = await context.put_bytes(content, f"outputs-{min(map(int, batches))}.tsv")
        if portions is not None:
            listed = [*portions, *gave.values()]
            gave["listed"] = await context.put_bytes(
                "".join(f"{each}\n" for each in listed).encode(), "outputs.txt"
            )
        return gave


class ForEachItemMergeOutputs(MergeOutputs):
    """Gather in a file what the executions of a ForEachItem gave, a line each, in the order of the batches."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    uses_files: ClassVar[bool] = True

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `subflowOutputs`, the URI of the file."""
        gathered = context.variables.get("gathered")
        if gathered is None:
            return {"subflowOutputs": await context.put_bytes(b"", "outputs.ion")}
        folder = context.working_directory
        await context.get_file(gathered, folder / "portions.txt")
        uris = (folder / "portions.txt").read_text().split()
        paths = [folder / f"portion-{number}" for number in range(len(uris))]
        for start in range(0, len(uris), _AT_ONCE):
            some = zip(uris[start : start + _AT_ONCE], paths[start : start + _AT_ONCE], strict=True)
            await asyncio.gather(*(context.get_file(uri, path) for uri, path in some))
        merged = folder / "outputs.ion"
        await asyncio.to_thread(merge, paths, merged)
        return {"subflowOutputs": await context.put_file(merged, "outputs.ion")}


def merge(portions: Sequence[Path], target: Path) -> None:
    """Write the lines of all portions in the order of their batches; of a batch that is there twice, the later one.

    Memory grows by a few numbers a batch, never by what batches gave.
    """
    whole = target.with_suffix(".unsorted")
    starts = array("q")  # of a batch's line in `whole`, by number; -1: it gave nothing
    with whole.open("wb") as written:
        for portion in portions:
            with portion.open("rb") as lines:
                for line in lines:
                    number, _, content = line.partition(b"\t")
                    missing = int(number) + 1 - len(starts)
                    if missing > 0:
                        starts.extend([-1] * missing)
                    starts[int(number)] = written.tell()
                    written.write(content)
    with whole.open("rb") as read, target.open("wb") as written:
        place = 0
        for start in starts:
            if start < 0:
                continue
            if start != place:
                read.seek(start)
            line = read.readline()
            place = start + len(line)
            written.write(line)
    whole.unlink()
