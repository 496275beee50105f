"""Which task runs in loops without values are the latest at their places, so that iterations do not pile up.

In come ends of task runs and beginnings of iterations; out goes what is to be forgotten.  It is rebuilt from the task
runs that are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from flowtide.model.states import State

if TYPE_CHECKING:
    from flowtide.engine.execution import Run


class Place(msgspec.Struct, frozen=True):
    """Where a task run leaves its outputs and its state.

    A skipped task run leaves the outputs that an earlier one left; therefore both are kept.
    """

    task_id: str
    skipped: bool
    path: tuple[str, ...]

    @property
    def other(self) -> Place:
        """The place of a task run that was skipped, of one that was not, and the other way round."""
        return Place(self.task_id, not self.skipped, self.path)


class Left(msgspec.Struct, frozen=True):
    """The task run that is the latest at a place."""

    place: Place
    run_id: str
    number: int  # of the event that created it
    loop: str  # the task run of the nearest loop without values around it


class Repeating:
    """The latest task runs of all loops of an execution."""

    __slots__ = ("_inside", "_latest")

    def __init__(self) -> None:
        self._latest: dict[Place, Left] = {}
        self._inside: dict[str, dict[Place, None]] = {}  # loop -> the places of what is directly in it

    def __bool__(self) -> bool:
        return bool(self._latest)

    def __len__(self) -> int:
        return len(self._latest)

    def __contains__(self, place: Place) -> bool:
        return place in self._latest

    def end(self, run: Run) -> tuple[Left | None, list[Left]]:
        """A task run is the latest at its place now; gives the one before, and what only that one's loop left."""
        place = Place(run.task_id, run.state is State.SKIPPED, tuple(run.path))
        before = self._latest.get(place)
        if before is not None:
            self._forget(before)
        left = Left(place, run.run_id, run.number, run.loop or "")
        self._latest[place] = left
        self._inside.setdefault(left.loop, {})[place] = None
        if before is None or before.run_id == run.run_id:
            return None, []
        return before, list(self._below(before.run_id))

    def outdated(self, loop: str, before: int) -> list[Left]:
        """Forget what was created in a loop before an event, and what was inside of that."""
        found = [
            left for place in self._inside.get(loop, ()) if (left := self._latest[place]).number < before
        ]
        gone: list[Left] = []
        for left in found:
            self._forget(left)
            gone.append(left)
            gone.extend(self._below(left.run_id))
        return gone

    def _below(self, loop: str) -> Iterator[Left]:
        """Forget everything in a loop."""
        for place in list(self._inside.get(loop, ())):
            left = self._latest[place]
            self._forget(left)
            yield left
            yield from self._below(left.run_id)

    def _forget(self, left: Left) -> None:
        del self._latest[left.place]
        inside = self._inside[left.loop]
        del inside[left.place]
        if not inside:
            del self._inside[left.loop]
