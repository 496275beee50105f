"""Outputs that are too large for a record: what stands in their place, and how it is recognised.

A worker whose task run has outputs beyond the limit (256 KiB of JSON by default) stores them as one JSON file of
the task run and reports the marker instead: `{"$offloaded": {"uri": "kestra:///...", "bytes": 700123}}`.  The
marker travels through events, state and jobs as it is; the worker of a later task that names these outputs reads
the file before it renders anything.  An executor that meets a marker where it must evaluate an expression itself
hands that to a worker as an `Evaluate` job, because reading a file is input.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

DEFAULT_LIMIT_BYTES: Final = 256 * 1024
MARKER: Final = "$offloaded"
MARKER_BYTES: Final = b'"$offloaded"'  # a record without these bytes has no offloaded outputs
FILE_NAME: Final = "outputs.json"


def offloaded(uri: str, size_bytes: int) -> dict[str, Any]:
    """What a worker reports in place of outputs that it stored."""
    return {MARKER: {"uri": uri, "bytes": size_bytes}}


def offloaded_uri(value: Any) -> str | None:
    """The URI of a marker; None for any other value."""
    if not isinstance(value, dict) or len(value) != 1:
        return None
    inner = value.get(MARKER)
    if not isinstance(inner, dict):
        return None
    uri = inner.get("uri")
    return uri if isinstance(uri, str) else None


def offloaded_places(value: Any) -> Iterator[tuple[dict[str, Any] | list[Any], Any, str]]:
    """Every marker inside a structure, as the container, the key or index in it, and the URI.

    The caller may replace each as it comes; what replaced it is not searched.
    """
    items: Any
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return
    for key, child in items:
        uri = offloaded_uri(child)
        if uri is not None:
            yield value, key, uri
        else:
            yield from offloaded_places(child)


def has_offloaded(value: Any) -> bool:
    """Whether outputs were stored instead of carried somewhere in a structure."""
    return offloaded_uri(value) is not None or next(offloaded_places(value), None) is not None
