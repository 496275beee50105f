"""Work on many things: each thing in, a bar on standard error while it lasts, and what failed out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import click

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
    """Do something with all things; gives the names of those that failed, told on standard error as they do.

    With `fail_fast` the first failure ends it.
    """
    failed: list[str] = []
    for thing in each_of(things, about):
        try:
            do(thing)
        except (FlowtideError, OSError) as error:
            message = error.message if isinstance(error, FlowtideError) else str(error)
            click.echo(f"{name(thing)}: {message}", err=True)
            failed.append(name(thing))
            if fail_fast:
                break
    return failed
