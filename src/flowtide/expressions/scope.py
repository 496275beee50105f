"""What a template is rendered against: variables, the caller's functions, clock, randomness and limits.

Nothing here reads a clock or a file by itself; whatever needs that is handed over by the caller.
"""

from __future__ import annotations

import random as _random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one rendering may use before it is refused with an ExpressionError."""

    output_characters: int = 10 * 1024 * 1024  # of the result, and of any single text on the way
    allocated_characters: int = 256 * 1024 * 1024  # of all long texts made on the way
    elements: int = 1_000_000  # of a list, a range, or a nested value that a template builds
    time_budget: timedelta = timedelta(seconds=10)  # checked in loops, calls and nested renderings
    regex_timeout: timedelta = timedelta(seconds=10)  # of one pattern (C F47, `kestra.regex.timeout`)
    passes: int = 100  # of a recursive rendering (C R03)
    nesting: int = 20  # of render() inside what render() renders


DEFAULT_LIMITS: Final = Limits()
_NO_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {}


def _system_now() -> datetime:
    return datetime.now(UTC)


class Scope:
    """One rendering's surroundings; cheap to build, never changed by a rendering.

    `variables` are the root variables, eager or lazy. `functions` are the caller's, which come before the
    built-in ones of the same name and are called with the arguments as written. `now` gives an aware date.
    `timezone` is where dates without a zone are. `random` feeds uuid(), randomInt() and the like.
    `recursive` renders the result again until it no longer changes (C R02). `on_secret` is called with
    every value that secret() or credential() returned, so that logs can mask it (C R11).
    """

    __slots__ = (
        "functions",
        "limits",
        "monotonic",
        "now",
        "on_secret",
        "random",
        "recursive",
        "timezone",
        "variables",
    )

    def __init__(
        self,
        variables: Mapping[str, Any],
        *,
        functions: Mapping[str, Callable[..., Any]] = _NO_FUNCTIONS,
        now: Callable[[], datetime] = _system_now,
        timezone: tzinfo = UTC,
        random: _random.Random | None = None,
        recursive: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        on_secret: Callable[[str], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.variables = variables
        self.functions = functions
        self.now = now
        self.timezone = timezone
        self.random = random
        self.recursive = recursive
        self.limits = limits
        self.on_secret = on_secret
        self.monotonic = monotonic
