"""Work on many things: each thing in, a bar on standard error while it lasts, and what failed out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import click

from flowtide.cli.client import ServerRefused
from flowtide.errors import FlowtideError

Thing = TypeVar("Thing")


def each_of(things: Sequence[Thing], about: str) -> Iterator[Thing]:
    """The things one after the other, with a bar when standard error is a terminal."""
    if not sys.stderr.isatty() or len(things) < 2:
        yield from things
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(things, description=about, console=Console(stderr=True), transient=True)


def attempt(
    things: Sequence[Thing],
    about: str,
    do: Callable[[Thing], None],
    *,
    name: Callable[[Thing], str],
    fail_fast: bool,
) -> list[str]:
    """Do something with all things; gives the names of those that failed, with the reasons on standard error.

    The first failure ends it with `fail_fast`, and always when the server cannot be reached.
    """
    failed: list[str] = []
    reasons: list[str] = []
    for thing in each_of(things, about):
        try:
            do(thing)
        except (FlowtideError, OSError) as error:
            message = error.message if isinstance(error, FlowtideError) else str(error)
            failed.append(name(thing))
            reasons.append(f"{name(thing)}: {message}")
            if fail_fast or (isinstance(error, ServerRefused) and error.status is None):
                break
    for reason in reasons:  # not before: they would be written into the bar
        click.echo(reason, err=True)
    return failed
