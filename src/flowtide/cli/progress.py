"""What a person sees of executions in a terminal: events and log lines in, text and a live table out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import click

from flowtide.model.entries import Level, LogEntry
from flowtide.model.events import (
    ExecutionCreated,
    ExecutionEvent,
    TaskRunCreated,
    TaskRunEnded,
    TaskRunKilling,
    TaskRunPaused,
    TaskRunResubmitted,
    TaskRunResumed,
    TaskRunRetrying,
    TaskRunStarted,
    TaskRunSubmitted,
)
from flowtide.model.states import State

if TYPE_CHECKING:
    from rich.table import Table

_REFRESH_SECONDS = 0.08
_SHOWN_RUNS = 12  # rows of the live table; a loop may have thousands
_STATE_OF: Mapping[type, State] = {
    TaskRunSubmitted: State.SUBMITTED,
    TaskRunStarted: State.RUNNING,
    TaskRunRetrying: State.RETRYING,
    TaskRunResubmitted: State.SUBMITTED,
    TaskRunPaused: State.PAUSED,
    TaskRunResumed: State.RUNNING,
    TaskRunKilling: State.KILLING,
}
COLOURS: Mapping[State, str] = {
    State.SUCCESS: "green",
    State.WARNING: "yellow",
    State.FAILED: "red",
    State.KILLED: "red",
    State.CANCELLED: "red",
    State.PAUSED: "magenta",
    State.RUNNING: "cyan",
    State.RETRYING: "yellow",
}
_LEVEL_COLOURS: Mapping[Level, str] = {
    Level.ERROR: "red",
    Level.WARN: "yellow",
    Level.INFO: "green",
    Level.DEBUG: "blue",
    Level.TRACE: "bright_black",
}


@dataclass(kw_only=True)
class Run:
    """A task run as it is now."""

    execution_id: str
    run_id: str
    task_id: str
    flow_id: str
    value: str | None
    state: State
    began: datetime
    ended: datetime | None = None
    outputs: dict[str, Any] | None = None
    error: str | None = None

    def name(self, main: str) -> str:
        """How it is called in the terminal; runs of other flows than `main` carry their flow's name."""
        name = self.task_id if self.value is None else f"{self.task_id}[{self.value}]"
        return name if self.flow_id == main else f"{self.flow_id}.{name}"


@dataclass(kw_only=True)
class Runs:
    """All task runs of this process, by execution and id."""

    main: str = ""  # the flow that was asked for
    flows: dict[str, str] = field(default_factory=dict)  # execution -> flow
    all: dict[tuple[str, str], Run] = field(default_factory=dict)

    def take(self, event: ExecutionEvent) -> Run | None:
        """Take in an event; gives the run that it concerns."""
        if isinstance(event, ExecutionCreated):
            self.flows[event.execution_id] = event.flow_id
            return None
        run_id = getattr(event, "run_id", None)
        if run_id is None:
            return None
        if isinstance(event, TaskRunCreated):
            run = Run(
                execution_id=event.execution_id,
                run_id=event.run_id,
                task_id=event.task_id,
                flow_id=self.flows.get(event.execution_id, ""),
                value=event.value,
                state=event.state,
                began=event.at,
                ended=event.at if event.state.is_terminal else None,
                outputs=event.outputs,
                error=event.error,
            )
            self.all[event.execution_id, event.run_id] = run
            return run
        found = self.all.get((event.execution_id, run_id))
        if found is None:
            return None
        if isinstance(event, TaskRunEnded):
            found.state, found.ended, found.error = event.state, event.at, event.error
            if event.outputs is not None:
                found.outputs = event.outputs
        else:
            found.state = _STATE_OF.get(type(event), found.state)
        return found


class Screen(Protocol):
    """Where a run is shown."""

    def line(self, text: str) -> None:
        """Write a line, which may be coloured by ANSI sequences."""

    def changed(self, runs: Runs, run: Run) -> None:
        """A task run changed."""

    def close(self) -> None:
        """Nothing more follows."""


class PlainScreen:
    """Lines only, for files and pipes: log lines, and one for each task run that ended."""

    def line(self, text: str) -> None:
        """Write it to standard error, without colours when that is no terminal."""
        click.echo(text, err=True)

    def changed(self, runs: Runs, run: Run) -> None:
        """Tell of the end of a run."""
        if run.ended is not None:
            self.line(run_line(runs, run))

    def close(self) -> None:
        """Nothing is open."""


class LiveScreen:
    """Log lines, and below them a table of the task runs that moves with them."""

    def __init__(self, runs: Runs | None = None) -> None:
        from rich.console import Console  # only a terminal pays for rich
        from rich.live import Live

        self._runs = runs or Runs()
        self._console = Console(stderr=True, highlight=False)
        # The table is made when it is drawn, not at every event: a loop has thousands of them in a second.
        self._live = Live(
            console=self._console,
            refresh_per_second=1 / _REFRESH_SECONDS,
            transient=True,
            get_renderable=lambda: _table(self._runs),
        )
        self._live.start()
        self._lines: list[str] = []  # not written yet

    def line(self, text: str) -> None:
        """Write a line above the table, soon: with others, as drawing takes longer than running a task."""
        if not self._lines:
            asyncio.get_running_loop().call_later(_REFRESH_SECONDS, self._flush)
        self._lines.append(text)

    def _flush(self) -> None:
        from rich.text import Text

        lines, self._lines = self._lines, []
        if lines:
            self._console.print(Text.from_ansi("\n".join(lines)), soft_wrap=True)

    def changed(self, runs: Runs, run: Run) -> None:
        """Have the table drawn anew, and tell of the end of a run."""
        self._runs = runs
        if run.ended is not None:
            self.line(run_line(runs, run))

    def close(self) -> None:
        """Write what is left, and take the table away."""
        self._flush()
        self._live.stop()


def _table(runs: Runs) -> Table:
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 1))
    # Rich draws in a thread of its own, while the event loop goes on adding runs.
    active = [run for run in list(runs.all.values()) if run.ended is None]
    for run in active[-_SHOWN_RUNS:]:
        colour = COLOURS.get(run.state, "white")
        table.add_row(
            Spinner("dots", style=colour), Text(run.name(runs.main)), Text(run.state.value, style=colour)
        )
    done = len(runs.all) - len(active)
    more = len(active) - _SHOWN_RUNS
    table.add_row("", Text(f"{done} done" + (f", {more} more active" if more > 0 else ""), style="dim"), "")
    return table


def run_line(runs: Runs, run: Run) -> str:
    """The end of a task run in one line."""
    seconds = ((run.ended or run.began) - run.began).total_seconds()
    state = click.style(f"{run.state.value:<8}", fg=COLOURS.get(run.state), bold=True)
    error = f"  {run.error}" if run.error else ""
    return f"{_clock(run.ended or run.began)} {state} {run.name(runs.main)} ({seconds:.2f} s){error}"


def log_line(runs: Runs, entry: LogEntry) -> str:
    """A log line of an execution."""
    level = click.style(f"{entry.level.value:<8}", fg=_LEVEL_COLOURS[entry.level])
    run = runs.all.get((entry.execution_id or "", entry.task_run_id or ""))
    name = run.name(runs.main) if run is not None else entry.task_id or entry.flow_id
    return f"{_clock(entry.timestamp)} {level} {click.style(name, dim=True)} {entry.message}"


def _clock(moment: datetime) -> str:
    return moment.astimezone().strftime("%H:%M:%S.%f")[:-3]
