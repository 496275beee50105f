"""Groups of commands whose modules are imported when a command is called: a table of names in, click's group out."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click

Table = Mapping[str, tuple[str, str]]
"""Name -> where the command stands (`module:attribute`), and what the list of commands says about it."""


class LazyGroup(click.Group):
    """A group that lists its commands from a table, without importing any."""

    def __init__(
        self, *arguments: Any, table: Table, aliases: Mapping[str, str] = MappingProxyType({}), **more: Any
    ) -> None:
        """`aliases` are further names of commands, which no list shows."""
        super().__init__(*arguments, **more)
        self.table = table
        self.aliases = aliases

    def list_commands(self, context: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(self.table)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of that name."""
        name = self.aliases.get(name, name)
        if name not in self.table:
            return None
        module, _, attribute = self.table[name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in self.table.items()])
