"""From a saved flow to its document, as the list of flows shows it; the YAML is read and not checked."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from flowtide.index.documents import Document
from flowtide.model.records import format_date
from flowtide.model.resources import FLOW_BODY_DECODER, Resource

_FLOW_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def flow_document(resource: Resource, *, tenant: str, namespace: str, flow_id: str) -> Document:
    """A saved flow as the list of flows shows it: read from its YAML without checking it.

    What cannot be read is left out; `error` says why.  Never raises for a flow's text.
    """
    document: Document = {
        "id": flow_id,
        "tenantId": tenant,
        "namespace": namespace,
        "revision": resource.revision,
        "updated": format_date(resource.updated),
        "disabled": False,
        "deleted": False,
        "labels": [],
    }
    try:
        source = FLOW_BODY_DECODER.decode(resource.body).source
        document["source"] = source
        flow = yaml.load(source, Loader=_FLOW_LOADER)  # noqa: S506 - a safe loader, the C one where it is built
    except (msgspec.MsgspecError, yaml.YAMLError, ValueError, RecursionError) as error:
        document["error"] = str(error)
        return document
    if not isinstance(flow, dict):
        document["error"] = "the flow is not a YAML mapping"
        return document
    description = flow.get("description")
    if isinstance(description, str):
        document["description"] = description
    document["disabled"] = flow.get("disabled") is True
    document["labels"] = _labels(flow.get("labels"))
    document["taskTypes"] = sorted(_types(flow.get("tasks")))
    document["triggerTypes"] = sorted(_types(flow.get("triggers")))
    return document


def _labels(given: Any) -> list[Document]:
    if isinstance(given, dict):
        return [{"key": str(key), "value": str(value)} for key, value in given.items()]
    if isinstance(given, list):
        return [
            {"key": str(label["key"]), "value": str(label.get("value", ""))}
            for label in given
            if isinstance(label, dict) and "key" in label
        ]
    return []


def _types(given: Any) -> set[str]:
    if not isinstance(given, list):
        return set()
    return {part["type"] for part in given if isinstance(part, dict) and isinstance(part.get("type"), str)}
