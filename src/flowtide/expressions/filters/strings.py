"""Filters on text (C §7.2), including the time-limited regular expressions."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote_plus, unquote_plus

from flowtide.expressions import javaregex
from flowtide.expressions.faults import Fault
from flowtide.expressions.predicates import is_empty
from flowtide.expressions.printing import kind, text
from flowtide.expressions.runtime import Run


def _string(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise Fault(f"the filter `{name}` needs a string, not a {kind(value)}")


def _argument(name: str, argument: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise Fault(f"the argument `{argument}` of the filter `{name}` must be a string, not a {kind(value)}")


def on_text(name: str, function: Callable[[str], Any]) -> Callable[[Run, Any], Any]:
    """A filter of one string; null stays null."""

    def apply(run: Run, value: Any) -> Any:
        return None if value is None else function(_string(name, value))

    return apply


def _in_case(name: str, function: Callable[[str], str]) -> Callable[[Run, Any], Any]:
    """`upper` and `lower`: of a list, the text with brackets and commas that page 115 shows; null stays null."""

    def apply(run: Run, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, Sequence) and not isinstance(value, str):
            return function(f"[{', '.join(map(text, value))}]")
        return function(_string(name, value))

    return apply


def _title(value: str) -> str:
    return re.sub(r"(^|\s)(\S)", lambda match: match.group(1) + match.group(2).title(), value)


def _capitalize(value: str) -> str:
    stripped = value.lstrip()
    return value[: len(value) - len(stripped)] + stripped[:1].title() + stripped[1:]


def slugify(value: str) -> str:
    """C F31; also how ids become parts of storage paths."""
    dashed = re.sub(r"\s", "-", value)
    plain = re.sub(r"[^a-zA-Z0-9_-]", "", unicodedata.normalize("NFD", dashed))
    collapsed = re.sub(r"-{2,}", "-", plain.replace("_", "-"))
    return collapsed.removeprefix("-").removesuffix("-").lower()


def _abbreviate(run: Run, value: Any, length: Any) -> Any:
    if value is None:
        return None
    string = _string("abbreviate", value)
    if isinstance(length, bool) or not isinstance(length, int) or length < 0:
        raise Fault("the argument `length` of the filter `abbreviate` must be a number of at least 0")
    if len(string) < length:
        return string
    return string[:length] if length <= 3 else string[: length - 3] + "..."


def _replace(run: Run, value: Any, pairs: Any, regexp: Any) -> Any:
    if not isinstance(pairs, Mapping):
        raise Fault(f"the filter `replace` needs a map of replacements, not a {kind(pairs)}")
    return _deep(value, lambda string: _replace_text(run, string, pairs, bool(regexp)), 0)


def _replace_text(run: Run, value: str, pairs: Mapping[Any, Any], regexp: bool) -> str:
    for key, replacement in pairs.items():
        old, new = text(key), text(replacement)
        if regexp:
            value = javaregex.replace(run, old, new, value)
        else:
            if len(new) > len(old):
                run.reserve(len(value) + value.count(old) * (len(new) - len(old)))
            value = value.replace(old, new)
    return value


def _deep(value: Any, function: Callable[[str], str], depth: int) -> Any:
    """Applies a function to every string in a value."""
    if depth > 100:
        raise Fault("the value is nested too deeply")
    if isinstance(value, str):
        return function(value)
    if isinstance(value, Mapping):
        return {key: _deep(item, function, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_deep(item, function, depth + 1) for item in value]
    return value


def _substring(name: str, *, after: bool, last: bool) -> Callable[[Run, Any, Any], Any]:
    def apply(run: Run, value: Any, separator: Any) -> Any:
        if value is None:
            return None
        string, mark = _string(name, value), _argument(name, "separator", separator)
        index = string.rfind(mark) if last else string.find(mark)
        if index < 0:
            return "" if after else string
        return string[index + len(mark) :] if after else string[:index]

    return apply


def _default(run: Run, value: Any, fallback: Any) -> Any:
    return fallback if is_empty(value) else value


def _affix(name: str, *, end: bool) -> Callable[[Run, Any, Any], bool]:
    def apply(run: Run, value: Any, affix: Any) -> bool:
        string, part = _string(name, value), _argument(name, "value", affix)
        return string.endswith(part) if end else string.startswith(part)

    return apply


def _base64decode(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        raise Fault("the filter `base64decode` needs valid base64 of UTF-8 text") from None


def _urlencode(value: str) -> str:
    return quote_plus(value, safe="*").replace("~", "%7E")


def _urldecode(value: str) -> str:
    return unquote_plus(value, errors="replace")


def _hash(algorithm: str) -> Callable[[str], str]:
    return lambda value: hashlib.new(
        algorithm, value.encode(errors="replace"), usedforsecurity=False
    ).hexdigest()


_ESCAPES: Final = {"single": ("'", "\\'"), "double": ('"', '\\"'), "shell": ("'", "'\\''")}


def _escape_char(run: Run, value: Any, type_: Any) -> Any:
    pair = _ESCAPES.get(type_.lower()) if isinstance(type_, str) else None
    if pair is None:
        raise Fault("the argument `type` of the filter `escapeChar` must be single, double or shell")
    return _deep(value, lambda string: string.replace(*pair), 0)


def _regex_match(run: Run, value: Any, pattern: Any) -> Any:
    if value is None:
        return None
    string = _string("regexMatch", value)
    return javaregex.search(run, _argument("regexMatch", "regex", pattern), string) is not None


def _regex_replace(run: Run, value: Any, pattern: Any, replacement: Any) -> Any:
    if value is None:
        return None
    return javaregex.replace(
        run,
        _argument("regexReplace", "regex", pattern),
        _argument("regexReplace", "replacement", replacement),
        _string("regexReplace", value),
    )


def _regex_extract(run: Run, value: Any, pattern: Any, group: Any) -> Any:
    if value is None:
        return None
    regex_ = _argument("regexExtract", "regex", pattern)
    groups = javaregex.compile_pattern(regex_).groups
    if isinstance(group, bool) or not isinstance(group, int) or not 0 <= group <= groups:
        raise Fault(f"the argument `group` of the filter `regexExtract` must be between 0 and {groups}")
    match = javaregex.search(run, regex_, _string("regexExtract", value))
    return None if match is None else match.group(group)


FILTERS: Final[dict[str, tuple[Callable[..., Any], tuple[str, ...], tuple[Any, ...]]]] = {
    **{
        name: (on_text(name, function), (), ())
        for name, function in (
            ("title", _title),
            ("capitalize", _capitalize),
            ("trim", str.strip),
            ("slugify", slugify),
            ("base64encode", lambda value: base64.b64encode(value.encode(errors="replace")).decode()),
            ("base64decode", _base64decode),
            ("urlencode", _urlencode),
            ("urldecode", _urldecode),
            ("sha1", _hash("sha1")),
            ("sha256", _hash("sha256")),
            ("sha512", _hash("sha512")),
            ("md5", _hash("md5")),
            ("nl2br", lambda value: value.replace("\n", "<br />")),
        )
    },
    "lower": (_in_case("lower", str.lower), (), ()),
    "upper": (_in_case("upper", str.upper), (), ()),
    "abbreviate": (_abbreviate, ("length",), ()),
    "replace": (_replace, ("replace_pairs", "regexp"), (False,)),
    "substringBefore": (_substring("substringBefore", after=False, last=False), ("separator",), ()),
    "substringAfter": (_substring("substringAfter", after=True, last=False), ("separator",), ()),
    "substringBeforeLast": (_substring("substringBeforeLast", after=False, last=True), ("separator",), ()),
    "substringAfterLast": (_substring("substringAfterLast", after=True, last=True), ("separator",), ()),
    "default": (_default, ("default",), (None,)),
    "startsWith": (_affix("startsWith", end=False), ("value",), ()),
    "endsWith": (_affix("endsWith", end=True), ("value",), ()),
    "string": (lambda run, value: None if value is None else text(value), (), ()),
    "escapeChar": (_escape_char, ("type",), ()),
    "regexMatch": (_regex_match, ("regex",), ()),
    "regexReplace": (_regex_replace, ("regex", "replacement"), ()),
    "regexExtract": (_regex_extract, ("regex", "group"), (0,)),
}
