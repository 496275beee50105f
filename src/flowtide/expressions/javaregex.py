"""Java's regular expressions on the `regex` library: syntax translated, matching limited in time (C F47)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, TypeVar

import regex

from flowtide.expressions.faults import Fault, TooSlow
from flowtide.expressions.runtime import Run

_MAX_PATTERN: Final = 10_000
_MAX_REPEAT: Final = 1000
_T = TypeVar("_T")
_HORIZONTAL: Final = r"\t \xa0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000"
_REPEAT = regex.compile(r"\{(\d+)(?:,(\d*))?\}")


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Any:
    """The compiled form of a Java pattern; raises Fault where it is invalid."""
    if len(pattern) > _MAX_PATTERN:
        raise Fault(f"the regex is longer than {_MAX_PATTERN} characters")
    product = 1
    for low, high in _REPEAT.findall(pattern):
        product *= max(1, int((high or low)[:9]))
    # Nested counted repeats are unrolled by the compiler, which no time limit can stop.
    if product > _MAX_REPEAT**2:
        raise Fault(f"the counted repeats of the regex multiply to more than {_MAX_REPEAT**2}")
    try:
        flags = regex.VERSION1 if "&&" in pattern else regex.VERSION0
        return regex.compile(_translate(pattern), flags)
    except (regex.error, ValueError, OverflowError, RecursionError, MemoryError) as error:
        detail = str(error) if isinstance(error, regex.error) else "not supported"
        raise Fault(f"Invalid regex '{pattern[:100]}': {detail}") from None


def _translate(pattern: str) -> str:
    r"""Rewrites `\Q..\E`, `\h`, `\R`, `\Z`, `\z` and ASCII `\d \w \s`, which differ between the two."""
    out: list[str] = []
    position = 0
    in_class = 0
    while position < len(pattern):
        char = pattern[position]
        if char != "\\" or position + 1 >= len(pattern):
            if char == "[":
                in_class += 1
            elif char == "]" and in_class:
                in_class -= 1
            out.append(char)
            position += 1
            continue
        following = pattern[position + 1]
        position += 2
        if following == "Q":
            end = pattern.find("\\E", position)
            literal = pattern[position : end if end >= 0 else len(pattern)]
            out.append(regex.escape(literal, special_only=False))
            position = end + 2 if end >= 0 else len(pattern)
        elif following == "h":
            out.append(_HORIZONTAL if in_class else f"[{_HORIZONTAL}]")
        elif following == "d":
            out.append("0-9" if in_class else "[0-9]")
        elif following == "D" and not in_class:
            out.append("[^0-9]")
        elif following == "w":
            out.append("a-zA-Z0-9_" if in_class else "[a-zA-Z0-9_]")
        elif following == "W" and not in_class:
            out.append("[^a-zA-Z0-9_]")
        elif following == "R" and not in_class:
            out.append(r"(?:\r\n|[\n\x0b\f\r\x85\u2028\u2029])")
        elif following == "Z" and not in_class:
            out.append(r"(?=\n?\Z)")
        elif following == "z" and not in_class:
            out.append(r"\Z")
        else:
            out.append("\\" + following)
    return "".join(out)


def limited(run: Run, function: Callable[[float], _T]) -> _T:
    """Calls something that takes a time-out in seconds; raises TooSlow when it is over."""
    seconds = min(run.scope.limits.regex_timeout.total_seconds(), run.remaining())
    try:
        return function(seconds)
    except TimeoutError:
        raise TooSlow(f"the regex took longer than {seconds:.3g} s; simplify it") from None


def search(run: Run, pattern: str, value: str) -> Any:
    """The first match or None."""
    compiled = compile_pattern(pattern)
    return limited(run, lambda seconds: compiled.search(value, timeout=seconds))


def replace(run: Run, pattern: str, replacement: str, value: str) -> str:
    """Replaces all matches; `$1` and `${name}` in the replacement stand for groups, a backslash escapes."""
    compiled = compile_pattern(pattern)
    parts = _replacement(replacement, compiled)
    size = 0

    def one(match: Any) -> str:
        nonlocal size
        run.tick()
        text = "".join(part if isinstance(part, str) else match.group(part[0]) or "" for part in parts)
        size += len(text)
        if size > run.scope.limits.output_characters:
            raise Fault(f"a text would be longer than {run.scope.limits.output_characters} characters")
        return text

    result: str = limited(run, lambda seconds: compiled.sub(one, value, timeout=seconds))
    return result


def _replacement(replacement: str, compiled: Any) -> list[str | tuple[int | str]]:
    parts: list[str | tuple[int | str]] = []
    position = 0
    while position < len(replacement):
        char = replacement[position]
        position += 1
        if char == "\\":
            if position >= len(replacement):
                raise Fault("the replacement ends with a single backslash")
            parts.append(replacement[position])
            position += 1
        elif char == "$":
            if replacement.startswith("{", position):
                end = replacement.find("}", position)
                name = replacement[position + 1 : end] if end > 0 else ""
                if name not in compiled.groupindex:
                    raise Fault(f"the regex has no group named '{name[:40]}'")
                parts.append((name,))
                position = end + 1
                continue
            if position >= len(replacement) or replacement[position] not in "0123456789":
                raise Fault("`$` in a replacement needs the number of a group; write \\$ for the character")
            group = int(replacement[position])
            position += 1
            # Java takes further digits as long as there is such a group.
            while position < len(replacement) and replacement[position] in "0123456789":
                longer = group * 10 + int(replacement[position])
                if longer > compiled.groups:
                    break
                group = longer
                position += 1
            if group > compiled.groups:
                raise Fault(f"the regex has no group {group}")
            parts.append((group,))
        else:
            parts.append(char)
    return parts


def split(run: Run, pattern: str, value: str, limit: int) -> list[str]:
    """`String.split`: at most `limit` parts if positive; zero drops empty strings at the end."""
    compiled = compile_pattern(pattern)

    def matches(seconds: float) -> list[str]:
        parts: list[str] = []
        start = 0
        found: Iterator[Any] = compiled.finditer(value, timeout=seconds)
        for match in found:
            run.tick()
            if limit > 0 and len(parts) == limit - 1:
                break
            if match.end() == 0:
                continue  # a match without width at the beginning gives no empty first part
            if match.start() == len(value) == match.end() and match.start() == start:
                break
            if match.start() == match.end() == len(value):
                break
            parts.append(value[start : match.start()])
            start = match.end()
        if not parts and start == 0:
            return [value]
        parts.append(value[start:])
        return parts

    parts = limited(run, matches)
    if limit == 0:
        while len(parts) > 1 and not parts[-1]:
            parts.pop()
        if parts == [""] and value:
            return []
    return parts
