"""Masking: whatever was given out as a secret is replaced by six stars in text that people see (SEC-02, H).

The state is the set of values of one task run.  A value is also found in the forms in which programs print it: its
single lines when it has several, and as it stands inside a JSON string.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

STARS: Final = "******"
_SHORTEST_LINE: Final = (
    4  # shorter lines of a value with several, such as a closing brace, would hide ordinary text
)


class Mask:
    """The secrets of one task run.  Adding and masking are safe from several threads."""

    __slots__ = ("_needles", "_pattern", "longest")

    def __init__(self) -> None:
        self._needles: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self.longest = 0  # characters of the longest form

    def add(self, value: str) -> None:
        """Mask this value from now on; empty and blank values are left alone."""
        if not value.strip():
            return
        forms = {value, value.strip(), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        lines = value.splitlines()
        if len(lines) > 1:
            forms.update(line.strip() for line in lines if len(line.strip()) >= _SHORTEST_LINE)
        if forms <= self._needles:
            return
        needles = self._needles | forms
        # The longest first, so that a value that contains another is not cut into pieces.
        pattern = re.compile("|".join(re.escape(form) for form in sorted(needles, key=len, reverse=True)))
        self._needles = needles
        self._pattern = pattern
        self.longest = max(len(form) for form in needles)

    def mask(self, text: str) -> str:
        """The text with stars in place of secrets."""
        pattern = self._pattern
        return text if pattern is None else pattern.sub(STARS, text)

    def mask_structure(self, value: Any) -> Any:
        """Mask every text inside a structure of mappings and lists."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {self.mask(str(key)): self.mask_structure(child) for key, child in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask_structure(child) for child in value]
        return value


class StreamMask:
    """Masks a text that comes in pieces: what may be the beginning of a secret waits for the next piece."""

    __slots__ = ("_held", "_mask")

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be shown so far."""
        text = self._held + text
        keep = min(max(self._mask.longest - 1, 0), len(text))
        if keep == 0:
            self._held = ""
            return self._mask.mask(text)
        # A secret that crosses the cut would be shown in two halves: mask first, then hold back a tail of what
        # is left, whose own stars are never cut because they are put back whole.
        masked = self._mask.mask(text)
        tail = masked[-keep:]
        self._held = tail
        return masked[: len(masked) - len(tail)]

    def flush(self) -> str:
        """The rest; to be called once, at the end."""
        held, self._held = self._held, ""
        return self._mask.mask(held)
