"""What the executions of a ForEachItem's batches gave, until workers have written it to files, and how they ended.

In come ends of batches, out go portions for workers.  Each batch waits in a piece of state of its own that goes when
its portion is written, so that neither pieces nor jobs nor what is held in memory grow with the number of batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flowtide.model.records import ENCODER, encode
from flowtide.model.states import State

if TYPE_CHECKING:
    from flowtide.engine.execution import Execution, Run

PORTION_BYTES: Final = 128 * 1024
"""How much of what batches gave one file takes, and one job carries, unless a single batch gave more."""

PORTION_BATCHES: Final = 1000
"""How many batches one file takes."""

LAST: Final = "last"
"""The value of the task run that writes the last portion, and the list of all of them."""


class Counts(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How the batches ended so far, by state, and how much of it was told."""

    states: dict[str, int] = {}
    told: int = 0  # of the batches that were opened, and those that ended, together
    listed: str | None = None  # URI of the list of all portions


class Gathering:
    """What is known of the batches of one task run `<id>_items`.  Names of pieces are given to `touched`."""

    __slots__ = ("_name", "_sizes", "_touched", "counts", "given", "portions", "taken", "waiting_bytes")

    def __init__(self, run_id: str, touched: dict[str, bool]) -> None:
        self._name = f"g:{run_id}"
        self._touched = touched  # piece -> whether it is there; the execution writes what is noted here
        self._sizes: dict[int, int] = {}  # of those that wait for a portion, by number
        self.counts = Counts()
        self.given: dict[int, Any] = {}  # what batches gave and no file holds, by their number
        self.taken: dict[str, list[int]] = {}  # task run that writes a portion -> the batches in it
        self.portions: dict[int, str] = {}  # number of the event that told of it -> URI of a written portion
        self.waiting_bytes = 0

    @property
    def waiting(self) -> int:
        """How many batches gave something that is in no portion yet."""
        return len(self._sizes)

    @property
    def ended(self) -> int:
        """How many batches are over."""
        return sum(self.counts.states.values())

    def names(self) -> Iterator[str]:
        """All its pieces."""
        yield self._name
        yield from (self._part("b", number) for number in self.given)
        yield from (self._part("t", run_id) for run_id in self.taken)
        yield from (self._part("p", number) for number in self.portions)

    def batch_ended(self, number: int, state: State, gave: dict[str, Any] | None) -> dict[str, Any] | None:
        """Count a batch, and keep what its execution gave; gives what stays among the outputs of its task run."""
        told = (gave or {}).get("state") or state.value
        self.counts.states[told] = self.counts.states.get(told, 0) + 1
        self._touched[self._name] = True
        if not gave or "outputs" not in gave:
            return gave
        if gave["outputs"]:
            self._wait(number, gave["outputs"])
            self._touched[self._part("b", number)] = True
        return {name: value for name, value in gave.items() if name != "outputs"}

    def batch_reopened(self, before: State) -> None:
        """Count a batch no more, because it runs again."""
        if self.counts.states.get(before.value):
            self.counts.states[before.value] -= 1
            self._touched[self._name] = True

    def cut(self) -> list[list[int]]:
        """The batches that wait, in portions."""
        portions: list[list[int]] = [[]]
        size = 0
        for number, weight in self._sizes.items():
            if portions[-1] and (size + weight > PORTION_BYTES or len(portions[-1]) >= PORTION_BATCHES):
                portions.append([])
                size = 0
            portions[-1].append(number)
            size += weight
        return portions

    def take(self, run_id: str, batches: list[int]) -> None:
        """A task run writes these batches to a file."""
        self.taken[run_id] = batches
        self._touched[self._part("t", run_id)] = True
        for number in batches:
            self.waiting_bytes -= self._sizes.pop(number, 0)

    def written(self, run_id: str, event: int, outputs: dict[str, Any] | None) -> None:
        """A file holds a portion; its batches need not be kept any longer."""
        for number in self.taken.pop(run_id, ()):
            # One that ran again meanwhile waits for another portion.
            if number not in self._sizes and self.given.pop(number, None) is not None:
                self._touched[self._part("b", number)] = False
        self._touched[self._part("t", run_id)] = False
        if outputs and outputs.get("uri"):
            self.portions[event] = str(outputs["uri"])
            self._touched[self._part("p", event)] = True
        self.counts.listed = outputs.get("listed") if outputs else None
        self._touched[self._name] = True

    def tell(self, told: int) -> None:
        """Note how much was told."""
        self.counts.told = told
        self._touched[self._name] = True

    def encode(self, name: str) -> bytes:
        """The content of a piece."""
        kind, _, key = name.removeprefix(self._name).removeprefix(":").partition(":")
        if not kind:
            return ENCODER.encode(self.counts)
        if kind == "b":
            return encode(self.given[int(key)])
        return ENCODER.encode(self.taken[key] if kind == "t" else self.portions[int(key)])

    def read(self, parts: dict[str, bytes]) -> None:
        """Take over its pieces, by what their names end with."""
        for part, piece in parts.items():
            kind, _, key = part.partition(":")
            if not kind:
                self.counts = _COUNTS.decode(piece)
            elif kind == "b":
                self._wait(int(key), msgspec.json.decode(piece))
            elif kind == "t":
                self.taken[key] = _NUMBERS.decode(piece)
            else:
                self.portions[int(key)] = _TEXT.decode(piece)
        self.portions = dict(sorted(self.portions.items()))
        for batches in self.taken.values():
            for number in batches:
                self.waiting_bytes -= self._sizes.pop(number, 0)

    def _wait(self, number: int, gave: Any) -> None:
        size = len(encode(gave))
        self.waiting_bytes += size - self._sizes.pop(number, 0)
        self._sizes[number] = size
        self.given[number] = gave

    def _part(self, kind: str, key: str | int) -> str:
        return f"{self._name}:{kind}:{key}"


def handed(execution: Execution, run: Run, items: str) -> dict[str, Any]:
    """What a job takes along to write a portion, or to merge all of them after the task `items`."""
    gathering = execution.gatherings.get(run.parent_id)
    if gathering is not None:
        given: dict[str, Any] = {
            "batches": {
                str(number): gathering.given[number] for number in gathering.taken.get(run.run_id, ())
            }
        }
        if run.value == LAST:
            given["portions"] = list(gathering.portions.values())
        return given
    tree: Any = execution.outputs.get(items)
    for value in run.path:
        tree = tree.get(value) if isinstance(tree, dict) else None
    return {"gathered": tree.get("uri") if isinstance(tree, dict) else None}


_COUNTS = msgspec.json.Decoder(Counts)
_NUMBERS = msgspec.json.Decoder(list[int])
_TEXT = msgspec.json.Decoder(str)
