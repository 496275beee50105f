"""Cuts a template into tokens: text, raw blocks, delimiters and the words between them.

In: the source. Out: a list of tokens, each with its offset. No state outlives a call.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from flowtide.expressions.faults import SyntaxFault

TEXT: Final = "text"
RAW: Final = "raw"
PRINT_BEGIN: Final = "{{"
PRINT_END: Final = "}}"
TAG_BEGIN: Final = "{%"
TAG_END: Final = "%}"
NAME: Final = "name"
NUMBER: Final = "number"
STRING: Final = "string"
INTERPOLATED: Final = "interpolated"
OPERATOR: Final = "operator"
END: Final = "end"

_MAX_TOKENS: Final = 200_000
_LONG_MAX: Final = 2**63 - 1
_BEGIN = re.compile(r"\{([{%#])(-?)")
_RAW_BEGIN = re.compile(r"\{%-?\s*(raw|verbatim)\s*(-?)%\}")
_RAW_END = {name: re.compile(r"\{%(-?)\s*end" + name + r"\s*(-?)%\}") for name in ("raw", "verbatim")}
_SPACE = re.compile(r"\s+")
_NAME = re.compile(r"[^\W\d]\w*")
_NUMBER = re.compile(r"(\d+)(\.\d+)?([lL](?!\w))?")
_OPERATOR = re.compile(r"\?\?\?|\?\?|\.\.|==|!=|<=|>=|[-+*/%~|=?:,.()\[\]{}<>]")


class Token(NamedTuple):
    """One word of the template."""

    kind: str
    value: Any
    position: int


def tokenize(source: str) -> list[Token]:
    """All tokens of a template, ending with one of kind `END`; raises SyntaxFault."""
    tokens: list[Token] = []
    position = 0
    trim_next = False
    length = len(source)
    while position < length:
        begin = _BEGIN.search(source, position)
        stop = begin.start() if begin else length
        text = source[position:stop]
        if trim_next:
            text = text.lstrip()
            trim_next = False
        if begin is None:
            if text:
                tokens.append(Token(TEXT, text, position))
            break
        if begin.group(2):
            text = text.rstrip()
        if text:
            tokens.append(Token(TEXT, text, position))
        kind = begin.group(1)
        if kind == "#":
            close = source.find("#}", begin.end(1))
            if close < 0:
                raise SyntaxFault(
                    "the comment opened by `{#` has no `#}`; text that contains `{#` belongs between "
                    "{% raw %} and {% endraw %}",
                    stop,
                )
            trim_next = source[close - 1] == "-" and close - 1 >= begin.end(1)
            position = close + 2
            continue
        if kind == "%" and (raw := _RAW_BEGIN.match(source, stop)):
            end = _RAW_END[raw.group(1)].search(source, raw.end())
            if end is None:
                raise SyntaxFault(f"{{% {raw.group(1)} %}} has no {{% end{raw.group(1)} %}}", stop)
            content = source[raw.end() : end.start()]
            if raw.group(2):
                content = content.lstrip()
            if end.group(1):
                content = content.rstrip()
            tokens.append(Token(RAW, content, raw.end()))
            trim_next = bool(end.group(2))
            position = end.end()
            continue
        closer = PRINT_END if kind == "{" else TAG_END
        tokens.append(Token(PRINT_BEGIN if kind == "{" else TAG_BEGIN, None, stop))
        position, trim_next = _words(source, begin.end(), closer, stop, tokens, 0)
    tokens.append(Token(END, None, length))
    return tokens


def _words(
    source: str, position: int, closer: str, opened: int, tokens: list[Token], depth: int
) -> tuple[int, bool]:
    """Reads up to and including `closer`; returns the offset after it and whether `-` preceded it."""
    braces = 0
    while True:
        space = _SPACE.match(source, position)
        if space:
            position = space.end()
        if position >= len(source):
            opener = {PRINT_END: "{{", TAG_END: "{%", "}": "#{"}[closer]
            raise SyntaxFault(f"`{opener}` is never closed by `{closer}`", opened)
        if braces == 0:
            if source.startswith(closer, position):
                if closer != "}":
                    tokens.append(Token(closer, None, position))
                return position + len(closer), False
            if closer != "}" and source.startswith("-" + closer, position):
                tokens.append(Token(closer, None, position))
                return position + 1 + len(closer), True
        if len(tokens) > _MAX_TOKENS:
            raise SyntaxFault(f"the template has more than {_MAX_TOKENS} words between delimiters", opened)
        char = source[position]
        if char in "'\"":
            position = _string(source, position, tokens, depth)
            continue
        name = _NAME.match(source, position)
        if name:
            tokens.append(Token(NAME, name.group(), position))
            position = name.end()
            continue
        number = _NUMBER.match(source, position)
        if number:
            tokens.append(Token(NUMBER, _number(number, position), position))
            position = number.end()
            continue
        operator = _OPERATOR.match(source, position)
        if operator is None:
            raise SyntaxFault(f"unexpected character {char!r}", position)
        if char == "{":
            braces += 1
        elif char == "}":
            if braces == 0:
                raise SyntaxFault("unexpected `}`", position)
            braces -= 1
        tokens.append(Token(OPERATOR, operator.group(), position))
        position = operator.end()


def _number(match: re.Match[str], position: int) -> int | float:
    whole, fraction, _ = match.groups()
    if fraction:
        return float(whole + fraction)
    if len(whole) > 19 or (value := int(whole)) > _LONG_MAX:
        raise SyntaxFault(
            "the number does not fit into 64 bits; write it as a string and use `number`", position
        )
    return value


def _string(source: str, start: int, tokens: list[Token], depth: int) -> int:
    """Reads a quoted string; a double-quoted one with `#{...}` becomes an INTERPOLATED token."""
    quote = source[start]
    position = start + 1
    buffer: list[str] = []
    parts: list[str | list[Token]] = []
    length = len(source)
    while position < length:
        char = source[position]
        if char == quote:
            text = "".join(buffer)
            if parts:
                parts.append(text)
                tokens.append(Token(INTERPOLATED, tuple(parts), start))
            else:
                tokens.append(Token(STRING, text, start))
            return position + 1
        if char == "\\" and position + 1 < length:
            following = source[position + 1]
            # C X07: a doubled backslash is one, so that patterns copied from any YAML style work.
            buffer.append(following if following in "\\'\"" else char + following)
            position += 2
        elif char == "#" and quote == '"' and source.startswith("#{", position):
            if depth >= 10:
                raise SyntaxFault("string interpolation is nested too deeply", position)
            parts.append("".join(buffer))
            buffer.clear()
            inner: list[Token] = []
            opened = position
            position, _ = _words(source, position + 2, "}", position, inner, depth + 1)
            inner.append(Token(END, None, opened))
            parts.append(inner)
        else:
            buffer.append(char)
            position += 1
    raise SyntaxFault(f"the string has no closing {quote}", start)
