"""What people are told of the inputs that they gave, before anything is started (ExecutionValidation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowtide.model.input_resolution import InputValue, undeclared
from flowtide.model.inputs import Input

_LIKELY_ID = 256


def evaluated(resolved: Sequence[InputValue]) -> list[dict[str, Any]]:
    """Each input with its value, or what is wrong with it; of a SECRET no value."""
    answer = []
    for each in resolved:
        entry: dict[str, Any] = {
            "input": each.input.model_dump(mode="json", by_alias=True, exclude_none=True),
            "enabled": each.enabled,
            "isDefault": each.is_default,
        }
        if each.value is not None and each.input.model_dump().get("type") != "SECRET":
            entry["value"] = each.value
        if each.options is not None:
            entry["input"]["values"] = list(each.options)
        if each.error is not None:
            entry["errors"] = [{"message": each.error}]
        answer.append(entry)
    return answer


def unasked_of(inputs: Sequence[Input], given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was given for inputs that nobody asks for."""
    return [_unasked(name[:_LIKELY_ID]) for name in undeclared(inputs, given)]


def _unasked(name: str) -> dict[str, Any]:
    return {
        "input": {"id": name, "type": "STRING"},
        "enabled": False,
        "isDefault": False,
        "errors": [{"message": f"there is no input `{name}`; its value is ignored"}],
    }
