"""`core.storage.FilterItems` and `DeduplicateItems`: files with one value a line, as Ion or JSON (RUN-21).

The fields of an item are variables of the expression; an item that is no mapping is the variable `value`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.errors import ExpressionError, TaskFailed
from flowtide.expressions import parse_ion, truthy
from flowtide.model.task import RunContext, RunnableTask
from flowtide.plugins.tasks.storage.files import FileUri, rendered_uri


class FilterItems(RunnableTask):
    """Keep the items of a file for which a condition holds, or drop them."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "thread"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "uri": ("string", "The file with the items that are left"),
        "processedItemsTotal": ("integer", "How many items there were"),
        "droppedItemsTotal": ("integer", "How many were left out"),
    }
    metrics: ClassVar[Mapping[str, str]] = {"processed": "counter", "dropped": "counter"}
    title: ClassVar[str] = "Filter the items of a file"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.FilterItems",)
    example: ClassVar[str] = """\
id: keep_paid_orders
namespace: company.team
inputs:
  - id: orders
    type: FILE
tasks:
  - id: paid
    type: io.kestra.plugin.core.storage.FilterItems
    from: "{{ inputs.orders }}"
    filterCondition: "{{ paid == true }}"
"""

    from_: Annotated[FileUri, Field(alias="from")]
    filter_condition: Annotated[
        str, Field(title="The condition", description="An expression on the fields of an item.")
    ]
    filter_type: Annotated[
        Literal["INCLUDE", "EXCLUDE"], Field(title="What becomes of items for which the condition holds")
    ] = "INCLUDE"
    error_or_null_behavior: Annotated[
        Literal["FAIL", "INCLUDE", "EXCLUDE"],
        Field(title="What becomes of items for which the condition cannot be told, or is null"),
    ] = "FAIL"

    def run(self, context: RunContext) -> dict[str, Any]:
        """Give `uri`, `processedItemsTotal` and `droppedItemsTotal`."""
        source = _fetched(self.from_, context)
        target = context.working_directory / "kept.ion"
        processed = dropped = 0
        render = context.renderer()
        with target.open("wb") as output:
            for number, line, item in _items(source):
                processed += 1
                if self._keeps(item, number, render):
                    output.write(line + b"\n")
                else:
                    dropped += 1
        context.counter("processed", processed)
        context.counter("dropped", dropped)
        uri = context.call(context.put_file(target, "filtered.ion"))
        return {"uri": uri, "processedItemsTotal": processed, "droppedItemsTotal": dropped}

    def _keeps(self, item: Any, number: int, render: Any) -> bool:
        try:
            told = render(self.filter_condition.strip(), _variables(item))
        except ExpressionError as error:
            if self.error_or_null_behavior == "FAIL":
                raise TaskFailed(f"`filterCondition`, item {number}: {error}") from None
            return self.error_or_null_behavior == "INCLUDE"
        if told is None or told == "":
            if self.error_or_null_behavior == "FAIL":
                raise TaskFailed(f"`filterCondition`, item {number}: it is null, and not true or false")
            return self.error_or_null_behavior == "INCLUDE"
        return truthy(told) == (self.filter_type == "INCLUDE")


class DeduplicateItems(RunnableTask):
    """Keep only the last item of each key; the keys are held in memory, the items are not."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "thread"
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "uri": ("string", "The file with the items that are left"),
        "numKeys": ("integer", "How many different keys there were"),
        "processedItemsTotal": ("integer", "How many items there were"),
        "droppedItemsTotal": ("integer", "How many were left out"),
    }
    metrics: ClassVar[Mapping[str, str]] = {"processed": "counter", "dropped": "counter", "keys": "counter"}
    title: ClassVar[str] = "Keep one item for each key"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.storages.DeduplicateItems",)
    example: ClassVar[str] = """\
id: latest_of_each_customer
namespace: company.team
inputs:
  - id: changes
    type: FILE
tasks:
  - id: latest
    type: io.kestra.plugin.core.storage.DeduplicateItems
    from: "{{ inputs.changes }}"
    expr: "{{ customer }}"
"""

    from_: Annotated[FileUri, Field(alias="from")]
    expr: Annotated[str, Field(title="The key", description="An expression on the fields of an item.")]

    def run(self, context: RunContext) -> dict[str, Any]:
        """Give `uri`, `numKeys`, `processedItemsTotal` and `droppedItemsTotal`."""
        source = _fetched(self.from_, context)
        render = context.renderer()
        last: dict[bytes, int] = {}
        processed = 0
        for number, _, item in _items(source):
            processed += 1
            try:
                key = str(render(self.expr, _variables(item)))
            except ExpressionError as error:
                raise TaskFailed(f"`expr`, item {number}: {error}") from None
            last[blake2b(key.encode(errors="surrogatepass"), digest_size=16).digest()] = number
        kept = set(last.values())
        target = context.working_directory / "kept.ion"
        with target.open("wb") as output:
            for number, line in _lines(source):
                if number in kept:
                    output.write(line + b"\n")
        dropped = processed - len(kept)
        context.counter("processed", processed)
        context.counter("dropped", dropped)
        context.counter("keys", len(kept))
        return {
            "uri": context.call(context.put_file(target, "deduplicated.ion")),
            "numKeys": len(kept),
            "processedItemsTotal": processed,
            "droppedItemsTotal": dropped,
        }


def _fetched(template: str, context: RunContext) -> Path:
    source = context.working_directory / "items"
    context.call(context.get_file(context.call(rendered_uri(template, context)), source))
    return source


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, numbered from 1 as they stand in the file."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            stripped = line.rstrip(b"\r\n")
            if stripped.strip():
                yield number, stripped


def _items(path: Path) -> Iterator[tuple[int, bytes, Any]]:
    for number, line in _lines(path):
        try:
            item = parse_ion(line.decode())
        except ValueError as error:
            raise TaskFailed(f"line {number} of the file is no Ion or JSON value: {error}") from None
        yield number, line, item


def _variables(item: Any) -> Mapping[str, Any]:
    return item if isinstance(item, dict) else {"value": item}
