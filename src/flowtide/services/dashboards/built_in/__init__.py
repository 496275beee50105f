"""The dashboards that are there before anybody writes one: for the tenant, for a namespace, for a flow (E103).

They are YAML beside this module, and read with the plugins of the instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

BUILT_IN: Mapping[str, str] = MappingProxyType(
    {"home": "_default", "namespace": "_default_namespace", "flow": "_default_flow"}
)
"""The page -> the id of its dashboard; no other dashboard can have such an id."""

_PAGES = {identifier: page for page, identifier in BUILT_IN.items()}


@cache
def built_in_source(identifier: str) -> str | None:
    """The YAML of a built-in dashboard; None when there is none of this id."""
    page = _PAGES.get(identifier)
    return None if page is None else files(__package__).joinpath(f"{page}.yaml").read_text(encoding="utf-8")
