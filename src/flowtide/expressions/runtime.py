"""The state of one rendering (and of those nested in it): locals, counters and limits; and its output."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from flowtide.expressions.attributes import root
from flowtide.expressions.faults import Fault, TooSlow, Undefined
from flowtide.expressions.printing import kind
from flowtide.expressions.scope import Scope

COUNTED_CHARACTERS: Final = 1024  # shorter texts are not worth counting


class Run:
    """The state of one rendering."""

    __slots__ = (
        "allocated",
        "blocks",
        "deadline",
        "frames",
        "nesting",
        "raws",
        "scope",
        "ticks",
        "weights",
    )

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.frames: list[dict[str, Any]] = []
        self.blocks: int = 0
        self.deadline: float | None = None
        self.ticks = 0
        self.allocated = 0
        self.nesting = 0
        self.raws: list[str] | None = None
        self.weights: dict[int, tuple[int, Any]] = {}

    # Limits

    def check_time(self) -> None:
        """Raises once the time budget is used up; the clock starts at the first check."""
        scope = self.scope
        now = scope.monotonic()
        if self.deadline is None:
            self.deadline = now + scope.limits.time_budget.total_seconds()
        elif now > self.deadline:
            raise TooSlow(f"rendering took longer than {scope.limits.time_budget.total_seconds():g} s")

    def remaining(self) -> float:
        """Seconds left of the time budget; raises when none are."""
        self.check_time()
        assert self.deadline is not None
        return max(0.001, self.deadline - self.scope.monotonic())

    def tick(self) -> None:
        """Once per iteration of anything that repeats."""
        self.ticks += 1
        if not self.ticks & 31:
            self.check_time()

    def charge(self, value: str) -> str:
        """Counts a text made on the way and hands it back; raises when it is, or all are, too long."""
        size = len(value)
        if size > COUNTED_CHARACTERS:
            self.reserve(size)
        return value

    def reserve(self, size: int) -> None:
        """Counts a text before it is made."""
        limits = self.scope.limits
        if size > limits.output_characters:
            raise Fault(f"a text would be longer than {limits.output_characters} characters")
        self.allocated += size
        if self.allocated > limits.allocated_characters:
            raise Fault(f"rendering would use more than {limits.allocated_characters} characters of text")

    def weigh(self, value: Any) -> int:
        """The number of elements in a nested value, counting shared parts as often as they occur.

        Without this a template could build a value of 2^n elements in n steps, which only hurts when printed.
        """
        kind_ = value.__class__
        if kind_ is not list and kind_ is not dict:
            return 1 if kind_ is not str else 1 + len(value) // 64
        known = self.weights.get(id(value))
        if known is not None:
            return known[0]
        total = 1
        limit = self.scope.limits.elements
        for item in value.values() if kind_ is dict else value:
            total += self.weigh(item)
            if total > limit:
                raise Fault(f"a value would have more than {limit} elements")
        # The value is kept alive beside its weight, or another one could get its id.
        self.weights[id(value)] = (total, value)
        return total

    def weighed(self, value: Any) -> Any:
        """Hands back a container that the template built, unless it is too heavy."""
        self.weigh(value)
        return value

    # Locals

    def push(self) -> dict[str, Any]:
        """A new innermost set of locals."""
        frame: dict[str, Any] = {}
        self.frames.append(frame)
        return frame

    def assign(self, name: str, value: Any) -> None:
        """`set`: changes the innermost variable of that name, else makes one."""
        for frame in reversed(self.frames):
            if name in frame:
                frame[name] = value
                return
        self.frames[-1][name] = value

    def lookup(self, name: str, position: int) -> Any:
        """A name that some tag of the template defines: local where it is, else a root variable."""
        for frame in reversed(self.frames):
            if name in frame:
                return frame[name]
        if name == "_context":
            return self.context()
        return root(self.scope.variables, name, position)

    def local(self, name: str, position: int) -> Any:
        """A name inside of a macro, which sees its arguments only."""
        for frame in reversed(self.frames):
            if name in frame:
                return frame[name]
        raise Undefined(name, position)

    def context(self) -> Mapping[str, Any]:
        """All variables and locals as one map, for `_context`."""
        variables: Any = self.scope.variables
        return ChainMap(*reversed(self.frames), variables)

    def iterate(self, value: Any, position: int) -> list[Any] | None:
        """What `for` walks over; None for null, which renders nothing at all (C T03)."""
        if value is None:
            return None
        if isinstance(value, list):
            return value
        if isinstance(value, Mapping):
            return [{"key": key, "value": item} for key, item in value.items()]
        if isinstance(value, Sequence | AbstractSet) and not isinstance(
            value, str | bytes | bytearray | memoryview
        ):
            return list(value)
        raise Fault(f"`for` needs a list or a map, not a {kind(value)}", position)

    def raw(self, value: str) -> str:
        """Text of a raw block: in a recursive rendering a stand-in, so that later passes leave it alone."""
        if self.raws is None:
            return value
        self.raws.append(value)
        return f"\ue000{len(self.raws) - 1}\ue001"

    def restore_raws(self, value: str) -> str:
        """Puts the raw blocks back after the last pass."""
        for index, content in enumerate(self.raws or ()):
            value = value.replace(f"\ue000{index}\ue001", content)
        return value


class Output:
    """Collects a template's text and refuses to grow beyond the limit."""

    __slots__ = ("limit", "parts", "size")

    def __init__(self, run: Run) -> None:
        self.parts: list[str] = []
        self.size = 0
        self.limit = run.scope.limits.output_characters

    def write(self, value: str) -> None:
        """Adds text."""
        self.size += len(value)
        if self.size > self.limit:
            raise Fault(f"the rendered text would be longer than {self.limit} characters")
        self.parts.append(value)

    def text(self) -> str:
        """All text so far."""
        return "".join(self.parts)
