"""Flows as the API shows them (G_models, Flow and FlowWithSource), and tasks and triggers as records carry them.

A flow shows its tasks and triggers as they were written; a record carries them with plugin defaults applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from flowtide.model.documents import read_document
from flowtide.model.flow import Flow
from flowtide.model.plugin import Part, Plugin, PluginContext, PluginKind, Registry
from flowtide.model.records import format_date, utc

_AS_WRITTEN = ("tasks", "errors", "finally", "afterExecution", "triggers", "variables", "retry", "listeners")
_PARTS = ("inputs", "outputs", "sla", "checks", "pluginDefaults", "concurrency", "workerGroup", "labels")


def flow_to_wire(
    flow: Flow,
    source: str | None,
    revision: int | None,
    *,
    with_source: bool = True,
    deleted: bool = False,
    updated: datetime | None = None,
) -> dict[str, Any]:
    """A flow as a JSON object: camelCase, what has no value is left out, properties of plugins are kept.

    `source` is what the flow was parsed from; without it tasks show plugin defaults too.  Raises DocumentError
    when `source` is not YAML.
    """
    written = read_document(source).value if source is not None else None
    if not isinstance(written, dict):
        written = _dump(flow, exclude_unset=True)
    described = _dump(flow, exclude_unset=False)
    wire: dict[str, Any] = {"id": flow.id, "namespace": flow.namespace}
    if revision is not None:
        wire["revision"] = revision
    if updated is not None:
        wire["updated"] = format_date(utc(updated))
    if flow.description is not None:
        wire["description"] = flow.description
    wire["disabled"] = flow.disabled
    wire["deleted"] = deleted or flow.deleted
    for name in _PARTS:
        if described.get(name):
            wire[name] = described[name]
    for name in _AS_WRITTEN:
        if written.get(name) is not None:
            wire[name] = written[name] if name == "variables" else _without_nulls(written[name])
    if with_source and source is not None:
        wire["source"] = source
    return wire


def plugin_to_record(plugin: Plugin) -> msgspec.Raw:
    """A task or a trigger as JSON, the same bytes for the same flow; `plugin_from_record` reads it."""
    return msgspec.Raw(plugin.model_dump_json(by_alias=True, exclude_unset=True).encode())


def plugin_from_record(kind: PluginKind, record: bytes | msgspec.Raw, registry: Registry) -> Plugin:
    """The task or trigger that `plugin_to_record` wrote.

    Raises LookupError for a type that this process does not have, PluginUnavailable for one that it cannot
    import, and pydantic's ValidationError for a record of another version of the class.
    """
    value: Mapping[str, Any] = msgspec.json.decode(record)
    name = value["type"]
    found = registry.find(kind, name)
    if found is None:
        raise LookupError(f"there is no {kind} of type `{name}` on this server")
    return found.model_validate(value, context=PluginContext(registry=registry))


def _dump(part: Part, *, exclude_unset: bool) -> dict[str, Any]:
    return part.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=exclude_unset)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value
