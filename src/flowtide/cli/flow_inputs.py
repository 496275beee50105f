"""Inputs of an execution from the command line: `name=value` in, typed values out, files stored on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flowtide.errors import InputError, InputProblem
from flowtide.model.encrypted import Cipher
from flowtide.model.flow import Flow
from flowtide.model.input_resolution import input_encryption, resolve_inputs
from flowtide.model.inputs import FileInput, Render
from flowtide.storage import ExecutionFolder, Storage, input_file

_URIS = ("kestra:///", "nsfile://", "file:///")


def read_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """Read `name=value`; `name=@path` is the content of a text file.  Raises InputError, OSError."""
    given: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            message = f"`{pair}` is no input; write it as name=value"
            raise InputError([InputProblem(input_id=name, message=message)])
        given[name] = Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value
    return given


async def typed_inputs(
    flow: Flow,
    given: Mapping[str, str],
    *,
    tenant: str,
    execution_id: str,
    storage: Storage,
    render: Render,
    cipher: Cipher | None = None,
) -> dict[str, Any]:
    """The values as the flow declares them; the value of a FILE input is a path, whose file is stored.

    Raises InputError with every problem, also for a name that the flow does not have.
    """
    known = {each.id for each in flow.inputs}
    unknown = [name for name in given if name not in known and name.partition(".")[0] not in known]
    if unknown:
        names = ", ".join(sorted(known)) or "none"
        raise InputError(
            [
                InputProblem(input_id=name, message=f"there is no input `{name}`; the flow has: {names}")
                for name in unknown
            ]
        )
    values: dict[str, Any] = dict(given)
    folder = ExecutionFolder(namespace=flow.namespace, flow_id=flow.id, execution_id=execution_id)
    for each in flow.inputs:
        value = values.get(each.id)
        if isinstance(each, FileInput) and isinstance(value, str) and not value.startswith(_URIS):
            path = _existing_file(each.id, value)
            uri = input_file(folder, input_id=each.id, name=path.name)
            await storage.put(tenant, uri, path)
            values[each.id] = uri
    about = {"id": flow.id, "namespace": flow.namespace, "revision": 1, "tenantId": tenant}
    variables = {"flow": about, "execution": {"id": execution_id}}
    encrypt = input_encryption(cipher, tenant_id=tenant, execution_id=execution_id)
    return resolve_inputs(flow.inputs, values, render, encrypt=encrypt, variables=variables)


def _existing_file(input_id: str, name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        message = f"the input `{input_id}` is a file, and there is no file {path}"
        raise InputError([InputProblem(input_id=input_id, message=message)])
    return path
