"""Numbers of things as people read them: a number and a word in, `1 flow` or `2 flows` out."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """The number with its word, which has a plural by `s`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
