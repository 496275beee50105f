"""The outputs of a flow: casts what an expression gave to the declared type (OUT-02)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from flowtide.errors import FlowtideError
from flowtide.model.encrypted import NO_KEY, is_encrypted
from flowtide.model.flow import Output
from flowtide.model.inputs import INPUT_ADAPTER, Input, InputMeans


class OutputInvalid(FlowtideError):
    """An output of the flow is not of its declared type, or missing."""

    code = "output-invalid"


def cast_output(output: Output, value: Any, encrypt: Callable[[str], Any] | None = None) -> Any:
    """The value as the output's type has it; a value without a declared type stays as it is.

    `encrypt` is for outputs of type SECRET; None when no key is configured.  An encrypted value stays encrypted.
    Raises OutputInvalid.
    """
    if value is None:
        if output.required:
            raise OutputInvalid(f"Output `{output.id}` of the flow has no value")
        return None
    if output.type is None or output.type == "FILE":
        return value
    if output.type in ("ARRAY", "MULTISELECT"):
        return _list(output, value)
    if is_encrypted(value):
        if output.type not in ("STRING", "SELECT", "ENUM", "SECRET", "JSON", "YAML"):
            raise OutputInvalid(
                f"Output `{output.id}` shows the value of a SECRET, so its type must be SECRET, not {output.type}"
            )
        return value
    if output.type == "SECRET":
        if encrypt is None:
            raise OutputInvalid(f"Output `{output.id}` of type SECRET cannot be used: {NO_KEY}")
        return encrypt(value if isinstance(value, str) else str(value))
    if output.type in ("SELECT", "ENUM"):
        return value if isinstance(value, str) else str(value)
    try:
        return _reader(output.type).read(value, _MEANS, None)
    except ValueError as error:
        raise OutputInvalid(f"Invalid value for output `{output.id}`. Cause: {error}") from None


def _list(output: Output, value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list):
        raise OutputInvalid(
            f"Invalid value for output `{output.id}`. Cause: it must be a list, or the JSON text of one"
        )
    return value


def _as_it_is(value: Any, variables: Mapping[str, Any]) -> Any:
    return value


_MEANS = InputMeans(render=_as_it_is)


@lru_cache(maxsize=32)
def _reader(output_type: str) -> Input:
    return INPUT_ADAPTER.validate_python({"id": "output", "type": output_type})
