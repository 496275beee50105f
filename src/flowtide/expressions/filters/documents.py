"""Filters to and from document formats: JSON, jq, YAML, Ion, and indentation (C §7.4, §7.5)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from flowtide.expressions import yamltext
from flowtide.expressions.faults import Fault
from flowtide.expressions.iontext import to_ion
from flowtide.expressions.jqprogram import run_jq
from flowtide.expressions.printing import kind, to_json
from flowtide.expressions.runtime import Run


def _jq(run: Run, value: Any, expression: Any) -> Any:
    if value is None:
        return None
    if not isinstance(expression, str):
        raise Fault(f"the filter `jq` needs its program as a string, not a {kind(expression)}")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Fault("the filter `jq` needs JSON, and this text is none") from None
    return run_jq(run, expression, value)


def _yaml(run: Run, value: Any) -> Any:
    # C F59: the page calls this filter a parser but uses it to serialise; both work, by the kind of input.
    if isinstance(value, str):
        try:
            parsed = yamltext.load(value)
        except Fault:
            parsed = None
        if isinstance(parsed, dict | list):
            return parsed
        return yamltext.dump(value)
    return "null" if value is None else yamltext.dump(value)


def _indent(*, first: bool) -> Callable[[Run, Any, Any, Any], Any]:
    name = "nindent" if first else "indent"

    def apply(run: Run, value: Any, amount: Any, prefix: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, str):
            raise Fault(f"the filter `{name}` needs a string, not a {kind(value)}")
        if isinstance(amount, bool) or not isinstance(amount, int) or not 0 <= amount <= 10_000:
            raise Fault(f"the argument `amount` of the filter `{name}` must be between 0 and 10000")
        if not isinstance(prefix, str):
            raise Fault(f"the argument `prefix` of the filter `{name}` must be a string")
        if not value:
            return value
        margin = prefix * amount if len(prefix) * amount <= 100_000 else None
        if margin is None:
            raise Fault(f"the filter `{name}` would indent too far")
        breaks = re.findall(r"\r\n|\n|\r", value)
        run.reserve(len(value) + len(breaks) * len(margin) + len(margin))
        indented = re.sub(r"\r\n|\n|\r", lambda match: match.group() + margin, value)
        return f"{breaks[0] if breaks else chr(10)}{margin}{indented}" if first else indented

    return apply


FILTERS: Final[dict[str, tuple[Callable[..., Any], tuple[str, ...], tuple[Any, ...]]]] = {
    "toJson": (lambda run, value: to_json(value), (), ()),
    "json": (lambda run, value: to_json(value), (), ()),
    "toIon": (lambda run, value: to_ion(value), (), ()),
    "jq": (_jq, ("expression",), ()),
    "yaml": (_yaml, (), ()),
    "indent": (_indent(first=False), ("amount", "prefix"), (" ",)),
    "nindent": (_indent(first=True), ("amount", "prefix"), (" ",)),
}
