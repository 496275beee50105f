"""Task runners: where the process of a script task runs (C §18); a plugin of kind "runner" is one class of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

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
    labels: Mapping[str, str] = field(default_factory=dict)  # names of flow, execution and task run (K10)


class Runner(Plugin):
    """A place to run a process."""

    kind: ClassVar[Literal["runner"]] = "runner"

    def check(self) -> None:
        """Called before anything is prepared.  Raises TaskFailed when this runner cannot work here."""

    async def run(
        self, command: RunnerCommand, context: RunContext, on_line: Callable[[OutputStream, str], None]
    ) -> int:
        """Run to the end and give the exit code.

        `on_line` is called for every line of both streams as it is written, without its line feed; a very long line
        comes in pieces.  When this coroutine is cancelled, all that was started is ended within a second.
        Raises TaskFailed when nothing could be started.
        """
        raise NotImplementedError
