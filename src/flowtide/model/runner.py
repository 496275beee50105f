"""Task runners: where the process of a script task runs (C §18); a plugin of kind "runner" is one class of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from flowtide.model.plugin import Plugin
from flowtide.model.task import RunContext

OutputStream = Literal["stdout", "stderr"]


@dataclass(frozen=True, kw_only=True)
class RunnerCommand:
    """What a script task asks a runner to run."""

    arguments: Sequence[str]  # interpreter and what it interprets
    environment: Mapping[str, str]  # the task's own variables, on top of what the runner gives
    working_directory: Path  # holds the input files; output files are looked for in it afterwards
    container_image: str | None = None  # rendered; only runners that start containers look at it
    output_directory: Path | None = None
    folders: Sequence[Path] = ()  # outside of the working directory, to be read at the same paths
    labels: Mapping[str, str] = field(default_factory=dict)  # names of flow, execution and task run (K10)


@dataclass(frozen=True, kw_only=True)
class RunnerResult:
    """How it ended."""

    exit_code: int  # below zero: the number of the signal that ended it
    outputs: Mapping[str, Any] = field(default_factory=dict)  # of the task, under `taskRunner`


class Runner(Plugin):
    """A place to run a process."""

    kind: ClassVar[Literal["runner"]] = "runner"
    starts_containers: ClassVar[bool] = False  # from the task's image, with the programs of that image

    async def check(self, context: RunContext) -> None:
        """Called before anything is prepared.  Raises TaskFailed when this runner cannot work here."""

    async def run(
        self, command: RunnerCommand, context: RunContext, on_line: Callable[[OutputStream, str], None]
    ) -> RunnerResult:
        """Run to the end.

        `on_line` is called for every line of both streams as it is written, without its line feed; a very long line
        comes in pieces.  Files that it leaves in the working directory are there when this returns.  When this
        coroutine is cancelled, all that was started is ended within a second.  Raises TaskFailed when nothing could
        be started.
        """
        raise NotImplementedError
