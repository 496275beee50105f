"""Cuts a file of lines into smaller ones: by rows, by size, into so many parts, or by what a pattern finds in a line.

In comes a file and a `Splitting`, out come files in a folder.  Memory does not grow with the file.  Of several ways
the pattern wins, then the size, the number of parts, and the rows (decision 0016).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import regex

_BLOCK_BYTES: Final = 1024 * 1024
_BUFFER_BYTES: Final = 8 * 1024 * 1024  # of files that are written in turn
_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", re.IGNORECASE)
_UNITS: Final[Mapping[str, int]] = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_PATTERN_SECONDS: Final = 5.0  # for one line


@dataclass(frozen=True, kw_only=True, slots=True)
class Splitting:
    """How a file is cut; at least one of the first four is given."""

    pattern: str | None = None  # lines with the same first group belong together; others are left out
    size_bytes: int | None = None  # of a part; a longer line is a part of its own
    partitions: int | None = None  # number of parts; lines are dealt out in turn
    rows: int | None = None  # lines of a part
    separator: bytes = b"\n"


def splitting_of(given: Mapping[str, Any]) -> Splitting:
    """The rendered properties `regexPattern`, `bytes`, `partitions`, `rows`, `separator` as a Splitting.

    Raises ValueError with a sentence for people.
    """
    separator = str(given.get("separator") or "\n").encode()
    pattern = given.get("regexPattern")
    if pattern:
        try:
            groups = regex.compile(str(pattern)).groups
        except regex.error as error:
            raise ValueError(f"`regexPattern` is not a regular expression: {error}") from None
        if groups < 1:
            raise ValueError("`regexPattern` must have a group, by which lines are put together")
    found = Splitting(
        pattern=str(pattern) if pattern else None,
        size_bytes=size_bytes(given["bytes"]) if given.get("bytes") else None,
        partitions=_count("partitions", given.get("partitions")),
        rows=_count("rows", given.get("rows")),
        separator=separator,
    )
    if not (found.pattern or found.size_bytes or found.partitions or found.rows):
        raise ValueError("needs one of `bytes`, `partitions`, `rows` and `regexPattern`")
    return found


def size_bytes(text: Any) -> int:
    """A size such as `1024` or `10MB` in bytes; a kilobyte has 1024.  Raises ValueError."""
    match = _SIZE.fullmatch(str(text))
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size < 1:
        raise ValueError(f"`bytes` must be a size such as 1024 or 10MB, not {text!r}")
    return size


def split_file(source: Path, how: Splitting, folder: Path, name: Callable[[int], str]) -> list[Path]:
    """Cut `source` into files of `folder`, named by their number from 0; an empty file gives none.

    Raises TimeoutError when the pattern takes too long on a line.
    """
    with source.open("rb") as file:
        lines = _lines(file, how.separator)
        if how.pattern is not None:
            return _dealt(_by_pattern(lines, how.pattern), how, folder, name)
        if how.size_bytes is not None:
            return _in_order(_by_size(lines, how), folder, name)
        if how.partitions is not None:
            count = how.partitions
            return _dealt(((number % count, line) for number, line in enumerate(lines)), how, folder, name)
        rows = how.rows or 1
        parts = ((number // rows, line + how.separator) for number, line in enumerate(lines))
        return _in_order(parts, folder, name)


def _count(name: str, value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(f"`{name}` must be a number from 1 on, not {value!r}")
    return number


def _lines(file: BinaryIO, separator: bytes) -> Iterator[bytes]:
    """The lines of a file without their separators; a separator at the end begins no further line."""
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        *whole, rest = (rest + block).split(separator)
        yield from whole
    if rest:
        yield rest


def _by_size(lines: Iterator[bytes], how: Splitting) -> Iterator[tuple[int, bytes]]:
    assert how.size_bytes is not None
    number, filled = 0, 0
    for line in lines:
        text = line + how.separator
        if filled and filled + len(text) > how.size_bytes:
            number, filled = number + 1, 0
        filled += len(text)
        yield number, text


def _by_pattern(lines: Iterator[bytes], pattern: str) -> Iterator[tuple[int, bytes]]:
    compiled = regex.compile(pattern)
    numbers: dict[str, int] = {}
    for line in lines:
        match = compiled.search(line.decode(errors="replace"), timeout=_PATTERN_SECONDS)
        if match is not None and match[1] is not None:
            yield numbers.setdefault(match[1], len(numbers)), line


def _in_order(parts: Iterator[tuple[int, bytes]], folder: Path, name: Callable[[int], str]) -> list[Path]:
    """Write parts that come one after the other."""
    paths: list[Path] = []
    file: BinaryIO | None = None
    try:
        for number, text in parts:
            if number == len(paths):
                if file is not None:
                    file.close()
                paths.append(folder / name(number))
                file = paths[-1].open("wb")
            assert file is not None
            file.write(text)
    finally:
        if file is not None:
            file.close()
    return paths


def _dealt(
    parts: Iterator[tuple[int, bytes]], how: Splitting, folder: Path, name: Callable[[int], str]
) -> list[Path]:
    """Write parts whose lines come in any order, without keeping all files open."""
    paths: list[Path] = []
    buffers: dict[int, bytearray] = {}
    buffered = 0

    def flush() -> None:
        for number, buffer in buffers.items():
            with paths[number].open("ab") as file:
                file.write(buffer)
        buffers.clear()

    for number, line in parts:
        while number >= len(paths):
            paths.append(folder / name(len(paths)))
        buffers.setdefault(number, bytearray()).extend(line + how.separator)
        buffered += len(line) + len(how.separator)
        if buffered > _BUFFER_BYTES:
            flush()
            buffered = 0
    flush()
    return paths
