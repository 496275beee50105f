"""The table of commands, and what people are told when one cannot go on."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from flowtide.cli import flow
from flowtide.cli.commands import COMMANDS, flowtide
from flowtide.cli.ctl import commands as ctl
from flowtide.cli.failures import failure_of
from flowtide.cli.lazy import Table
from flowtide.errors import SettingsError


def test_every_command_of_the_table_is_there() -> None:
    """Each row names a module and a command, and the command knows its own help."""
    for place, _ in COMMANDS.values():
        module, _, attribute = place.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        assert command.help


def test_the_help_lists_the_commands() -> None:
    """`flowtide --help` names every command with a sentence."""
    result = CliRunner().invoke(flowtide, ["--help"])

    assert result.exit_code == 0
    for name, (_, about) in COMMANDS.items():
        assert name in result.output
        assert about in result.output


@pytest.mark.parametrize("module", ["flowtide.cli.commands", "flowtide.cli.ctl.commands"])
def test_the_help_imports_no_service(module: str) -> None:
    """`flowtide --help` and `flowtidectl --help` load neither pydantic nor aiohttp nor rich, which makes them quick."""
    program = (
        f"import sys; from {module} import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print([m for m in ('pydantic', 'aiohttp', 'rich', 'structlog') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout

    assert output.splitlines()[-1] == "[]"


@pytest.mark.parametrize("table", [flow.COMMANDS, ctl.COMMANDS])
def test_every_command_of_the_other_tables_is_there(table: Table) -> None:
    """Each row names a command that knows its own help."""
    for place, _ in table.values():
        module, _, attribute = place.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        assert command.help


@pytest.mark.parametrize("program", [flowtide, ctl.flowtidectl])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(program: click.Command, shell: str) -> None:
    """The script that is written names the program and its variable, and the variable has commands completed."""
    name = str(program.name)
    variable = f"_{name.upper()}_COMPLETE"
    script = CliRunner().invoke(program, ["completion", shell], prog_name=name)
    assert script.exit_code == 0, script.output
    assert f"{variable}={shell}_complete" in script.output

    words = {
        "COMP_WORDS": f"{name} con",
        "COMP_CWORD": "con" if shell == "fish" else "1",
        variable: f"{shell}_complete",
    }
    found = CliRunner().invoke(program, [], prog_name=name, env=words)

    assert "config" in found.output


def _all_commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _all_commands(below, f"{path} {name}")


@pytest.mark.parametrize("program", [flowtide, ctl.flowtidectl])
def test_every_option_of_every_command_is_explained_once(program: click.Command) -> None:
    """Each command says what it does, each option what it is for, and no two options have the same name."""
    wrong = []
    for path, command in _all_commands(program, str(program.name)):
        options = [each for each in command.params if isinstance(each, click.Option)]
        names = [name for each in options for name in (*each.opts, *each.secondary_opts)]
        if not command.help or len(names) != len(set(names)) or not all(each.help for each in options):
            wrong.append(path)
    assert wrong == []


def test_a_port_in_use_is_named() -> None:
    """The error of binding becomes a sentence with the port and what to do."""
    text = "[Errno 98] error while attempting to bind on address ('127.0.0.1', 8080): address already in use"

    sentence = failure_of(OSError(errno.EADDRINUSE, text))

    assert sentence is not None
    assert sentence.startswith("port 8080 of 127.0.0.1 is in use by another program")


def test_a_missing_file_is_named() -> None:
    """An error of the system keeps the name of its file."""
    assert failure_of(FileNotFoundError(errno.ENOENT, "No such file", "/no/such")) == "/no/such: No such file"


def test_a_defect_is_no_sentence() -> None:
    """What we did wrong keeps its trace; what a person did wrong has none."""
    assert failure_of(KeyError("x")) is None
    assert failure_of(SettingsError(["`queue.type`: no"])) == "`queue.type`: no"
