"""Functions that render text found in variables, and the one that prints all variables (C §8.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from flowtide.expressions.faults import Fault
from flowtide.expressions.printing import text, to_json
from flowtide.expressions.runtime import Run


def _render(run: Run, value: Any, recursive: Any) -> Any:
    return _deep(run, value, recursive is not False, 0)


def _deep(run: Run, value: Any, recursive: bool, depth: int) -> Any:
    if isinstance(value, str):
        from flowtide.errors import ExpressionError
        from flowtide.expressions.template import render_passes

        if "{" not in value:
            return value
        try:
            return render_passes(value, run.scope, run, recursive=recursive)
        except ExpressionError as error:
            raise Fault(error.message) from None
    if depth > 100:
        raise Fault("the value to render is nested too deeply")
    if isinstance(value, Mapping):
        return {
            text(_deep(run, key, recursive, depth + 1)): _deep(run, item, recursive, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_deep(run, item, recursive, depth + 1) for item in value]
    return value


def _print_context(run: Run) -> str:
    return to_json(run.scope.variables)


FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], tuple[str, ...] | None, tuple[Any, ...]]]] = {
    "render": (_render, ("toRender", "recursive"), (True,)),
    "renderOnce": (lambda run, value: _render(run, value, False), ("toRender",), ()),
    "printContext": (_print_context, (), ()),
    "fetchContext": (_print_context, (), ()),
}
