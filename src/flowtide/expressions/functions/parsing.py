"""Functions that read a text format: JSON, Ion, YAML (C §8.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flowtide.expressions import yamltext
from flowtide.expressions.faults import Fault
from flowtide.expressions.iontext import from_ion, parse_json
from flowtide.expressions.printing import kind
from flowtide.expressions.runtime import Run


def _string(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise Fault(f"the function `{name}` needs a string, not a {kind(value)}")


def _from_json(run: Run, value: Any) -> Any:
    return None if value is None else parse_json(_string("fromJson", value))


def _from_ion(run: Run, value: Any, all_rows: Any) -> Any:
    return None if value is None else from_ion(_string("fromIon", value), all_rows=all_rows is True)


def _yaml(run: Run, value: Any) -> Any:
    return None if value is None else yamltext.load(_string("yaml", value))


FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], tuple[str, ...] | None, tuple[Any, ...]]]] = {
    "fromJson": (_from_json, ("json",), ()),
    "json": (_from_json, ("json",), ()),
    "fromIon": (_from_ion, ("ion", "allRows"), (False,)),
    "yaml": (_yaml, ("yaml",), ()),
}
