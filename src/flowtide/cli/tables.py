"""What commands list: rows in, a table that fits the terminal, plain columns for pipes, or JSON out."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import click

Output = Literal["table", "json"]
Row = Mapping[str, Any]
Columns = Mapping[str, str]
"""Heading -> where the value stands in a row, with a dot for each level."""

_WHOLE = frozenset({"ID", "KEY", "STATE", "REVISION"})
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

output_option = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How the result is written.",
)  # fmt: skip  # a table


def write(rows: Sequence[Row], columns: Columns, output: str, *, nothing: str) -> None:
    """Write all rows; JSON has whole rows, a table some columns.  `nothing` is said instead of an empty table."""
    if output == "json":
        write_json(rows)
    elif not rows:
        click.echo(nothing, err=True)
    elif sys.stdout.isatty():
        _draw(rows, columns)
    else:
        _align(rows, columns)


def write_json(value: Any) -> None:
    """Write a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def cell(row: Row, path: str) -> str:
    """The value of a column as text; nothing for none."""
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value.replace("\n", " ")
    return str(value) if isinstance(value, int | float) else json.dumps(value, ensure_ascii=False)


def _draw(rows: Sequence[Row], columns: Columns) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns:
        # An identifier is copied with the mouse: in two lines it would be two.
        table.add_column(heading, overflow="fold", no_wrap=heading in _WHOLE)
    for row in rows:
        table.add_row(*(Text(_short(cell(row, path))) for path in columns.values()))
    Console(width=shutil.get_terminal_size().columns, highlight=False).print(table)


def _short(text: str) -> str:
    """A moment to the second, in the time zone of this machine; anything else as it is."""
    if _MOMENT.fullmatch(text) is None:
        return text
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _align(rows: Sequence[Row], columns: Columns) -> None:
    """Columns without a limit of width: a program that reads them wants whole values."""
    lines = [list(columns), *([cell(row, path) for path in columns.values()] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
