"""Waiting for an execution: its states as the server tells them in, what a person sees and how it ended out."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Protocol

import click

from flowtide.cli.client import Client, ServerRefused

Document = Mapping[str, Any]

ENDED = frozenset({"SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED", "SKIPPED", "RETRIED"})
EXIT_CODES: Mapping[str, int] = {"FAILED": 1, "KILLED": 3, "CANCELLED": 3}
NOT_ENDED = 4

_ATTEMPTS = 30  # to reach a server that went away
_PAUSE_SECONDS = 1.0
_COLOURS = {"SUCCESS": "green", "WARNING": "yellow", "FAILED": "red", "KILLED": "red", "RUNNING": "cyan"}


class Display(Protocol):
    """Where an execution is shown while it runs."""

    def show(self, execution: Document) -> None:
        """It is so now."""

    def close(self) -> None:
        """Nothing more follows."""


def exit_code(state: str) -> int:
    """The exit code for the state that an execution ended in."""
    return EXIT_CODES.get(state, 0)


def state_of(execution: Document) -> str:
    """The state that it is in."""
    return str(execution["state"]["current"])


def wait_for(
    client: Client, execution_id: str, display: Display, *, seconds: float | None
) -> Document | None:
    """Follow an execution to its end; None when it had not ended after that time.

    A server that goes away for less than half a minute is asked again.  Raises ServerRefused.
    """
    end = None if seconds is None else time.monotonic() + seconds
    failures = 0
    while True:
        try:
            for execution in _until(end, lambda: _changes(client, execution_id)):
                failures = 0
                display.show(execution)
                if state_of(execution) in ENDED:
                    return execution
        except ServerRefused as error:
            failures += 1
            if failures > _ATTEMPTS or (error.status is not None and error.status < 500):
                raise
        if end is not None and time.monotonic() >= end:
            return None
        time.sleep(_PAUSE_SECONDS)  # the stream ended, the execution has not: the server is going


def _changes(client: Client, execution_id: str) -> Iterator[Document]:
    """The execution as it is, and after each change, as long as the stream lasts."""
    for _, document in client.events(client.path("executions", execution_id, "follow")):
        if isinstance(document, dict) and "state" in document:
            yield document


def _until(end: float | None, start: Callable[[], Iterator[Document]]) -> Iterator[Document]:
    """What an iterator gives until a moment, though nothing comes: it is read by a thread beside this one."""
    if end is None:
        yield from start()
        return
    found: queue.SimpleQueue[Document | BaseException | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for each in start():
                found.put(each)
            found.put(None)
        except BaseException as error:  # raised again by who reads the queue
            found.put(error)

    threading.Thread(target=read, daemon=True).start()
    while (left := end - time.monotonic()) > 0:
        with suppress(queue.Empty):
            each = found.get(timeout=left)
            if each is None:
                return
            if isinstance(each, BaseException):
                raise each
            yield each


class Lines:
    """A line on standard error for each task run that ended, and for each state of the execution."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._state = ""

    def show(self, execution: Document) -> None:
        """Tell what is new."""
        for line in self.news(execution):
            click.echo(line, err=True)

    def news(self, execution: Document) -> list[str]:
        """The lines that were not told yet."""
        lines = []
        for run in execution.get("taskRunList") or ():
            if run["state"]["current"] in ENDED and run["id"] not in self._told:
                self._told.add(run["id"])
                lines.append(_line(run["state"], _name(run)))
        state = state_of(execution)
        if state != self._state:
            self._state = state
            name = f"{execution['namespace']}.{execution['flowId']} {execution['id']}"
            lines.append(_line(execution["state"], name))
        return lines

    def close(self) -> None:
        """Nothing is open."""


class Live:
    """The same lines, and below them what runs now, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.status import Status

        self._lines = Lines()
        self._console = Console(stderr=True, highlight=False)
        self._status = Status("...", console=self._console)
        self._status.start()

    def show(self, execution: Document) -> None:
        """Draw it."""
        from rich.markup import escape
        from rich.text import Text

        for line in self._lines.news(execution):
            self._console.print(Text.from_ansi(line), soft_wrap=True)
        runs = execution.get("taskRunList") or ()
        active = [_name(run) for run in runs if run["state"]["current"] not in ENDED]
        shown = ", ".join(active[:5]) + (" ..." if len(active) > 5 else "")
        done = len(runs) - len(active)
        self._status.update(escape(f"{state_of(execution)}  {done} done  {shown}"))

    def close(self) -> None:
        """Take the last line away."""
        self._status.stop()


def display() -> Display:
    """What fits standard error."""
    return Live() if sys.stderr.isatty() else Lines()


def _line(state: Mapping[str, Any], name: str) -> str:
    current = str(state["current"])
    shown = click.style(f"{current:<8}", fg=_COLOURS.get(current), bold=True)
    last = (state.get("histories") or [{}])[-1].get("date") or state.get("endDate") or state.get("startDate")
    clock = _clock(last) if last else ""
    return f"{clock} {shown} {name}".lstrip()


def _name(run: Mapping[str, Any]) -> str:
    return f"{run['taskId']}[{run['value']}]" if run.get("value") is not None else str(run["taskId"])


def _clock(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return moment.astimezone().strftime("%H:%M:%S.%f")[:-3]
