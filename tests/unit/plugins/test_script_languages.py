"""The languages of script tasks: what each runs, in which image, and really where its program is installed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowtide.model.states import State
from flowtide.plugins.tasks.scripts.script import ScriptTask
from tests.unit.services.worker_harness import REGISTRY, WorkerHarness

PROCESS = {"type": "io.kestra.plugin.core.runner.Process"}
# language: default image, how the program is called, the file's ending (page 356, C S04)
LANGUAGES = {
    "bun": ("oven/bun", "bun run", ".ts"),
    "deno": ("denoland/deno", "deno run", ".ts"),
    "go": ("golang", "go run", ".go"),
    "groovy": ("groovy", "groovy", ".groovy"),
    "julia": ("julia", "julia", ".jl"),
    "lua": ("nickblah/lua", "lua", ".lua"),
    "node": ("node", "node", ".js"),
    "perl": ("perl", "perl", ".pl"),
    "php": ("php", "php", ".php"),
    "powershell": ("mcr.microsoft.com/powershell", "pwsh -NoProfile -NonInteractive -Command", ".ps1"),
    "python": ("python:3.13-slim", "python3", ".py"),
    "r": ("r-base", "Rscript", ".R"),
    "ruby": ("ruby", "ruby", ".rb"),
    "shell": ("ubuntu", "sh -c", ""),
}
_SLOW = {"go"}  # compiles for seconds


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[WorkerHarness]:
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        yield harness


def _class(language: str, kind: str) -> type[ScriptTask]:
    found = REGISTRY.find("task", f"io.kestra.plugin.scripts.{language}.{kind}")
    assert found is not None
    assert issubclass(found, ScriptTask)
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_both_tasks(language: str) -> None:
    """S01, S02, S04: `Script` and `Commands`, with the image of the page and an example of its own type."""
    for kind in ("Script", "Commands"):
        task = _class(language, kind)
        assert task.default_image == LANGUAGES[language][0]
        assert task.title
        (example,) = yaml.safe_load(task.example)["tasks"][:1]
        assert example["type"] == f"io.kestra.plugin.scripts.{language}.{kind}"


@pytest.mark.parametrize("language", [each for each in LANGUAGES if each not in ("python", "shell")])
async def test_a_script_is_given_to_its_program(
    harness: WorkerHarness, tmp_path: Path, language: str
) -> None:
    """S04: the rendered text is a file with the language's ending, run after `beforeCommands` in one shell."""
    program, *arguments = LANGUAGES[language][1].split()
    stub = tmp_path / "bin" / program
    stub.parent.mkdir()
    # What it was called with, and the file that the last word names.
    stub.write_text(
        '#!/bin/sh\necho "$0 $*"\nfor last in "$@"; do :; done\n'
        'file=$(echo "$last" | tail -n 1 | tr -d "\'&"); cat $file\n'
    )
    stub.chmod(0o755)
    ended = await harness.run(
        f"scripts.{language}.Script",
        script="text of {{ flow.id }}\n",
        beforeCommands=["WHO=Ada"],
        taskRunner=PROCESS,
        env={"PATH": f"{stub.parent}:/usr/bin:/bin"},
        outputFiles=["**"],
    )
    assert ended.state is State.SUCCESS, ended.error
    lines = harness.messages("INFO")
    called = "\n".join(lines)
    assert called.startswith(" ".join([str(stub), *arguments]))
    assert LANGUAGES[language][2] in called
    assert "text of f" in lines
    assert ended.outputs["outputFiles"] == {}  # what we put there is not the script's


async def test_powershell_runs_in_its_own_interpreter(harness: WorkerHarness, tmp_path: Path) -> None:
    """S04, S14: PowerShell gets commands itself, and stops at the first error unless `failFast` is false."""
    stub = tmp_path / "bin" / "pwsh"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\nfor last in "$@"; do :; done\necho "$last"\n')
    stub.chmod(0o755)
    given = {"taskRunner": PROCESS, "env": {"PATH": f"{stub.parent}:/usr/bin:/bin"}}
    await harness.run("scripts.powershell.Commands", commands=["./main.ps1"], **given)
    await harness.run("scripts.powershell.Commands", commands=["./main.ps1"], failFast=False, **given)
    assert harness.messages("INFO") == ["$ErrorActionPreference = 'Stop'", "./main.ps1", "./main.ps1"]


@pytest.mark.parametrize("text", ["echo 1;", "<html><?php echo 1;", "<?= 1 ?>"])
async def test_php_needs_no_tag(harness: WorkerHarness, tmp_path: Path, text: str) -> None:
    """Page 356 writes PHP without `<?php`; it is added where it is missing."""
    stub = tmp_path / "bin" / "php"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\ncat "$1"; echo\n')
    stub.chmod(0o755)
    env = {"PATH": f"{stub.parent}:/usr/bin:/bin"}
    await harness.run("scripts.php.Script", script=text, taskRunner=PROCESS, env=env)
    assert [line for line in harness.messages("INFO") if line] == (
        ["<?php", text] if text.startswith("echo") else [text]
    )


def _installed(language: str) -> bool:
    return shutil.which(LANGUAGES[language][1].split()[0]) is not None


@pytest.mark.parametrize("kind", ["Script", "Commands"])
@pytest.mark.parametrize("language", [each for each in LANGUAGES if _installed(each) and each not in _SLOW])
async def test_examples_run_where_the_program_is_installed(
    harness: WorkerHarness, language: str, kind: str
) -> None:
    """RUN-28: the example of each language runs as it stands, on the Process runner."""
    task: dict[str, Any] = yaml.safe_load(_class(language, kind).example)["tasks"][0]
    name = task.pop("type").removeprefix("io.kestra.plugin.")
    task.pop("id")
    ended = await harness.run(name, **task)
    assert ended.state is State.SUCCESS, (ended.error, harness.messages())
    if kind == "Script" and language != "shell":
        assert ended.outputs["vars"] == {"answer": 42}
