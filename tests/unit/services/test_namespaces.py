"""What namespaces hand down to flows (V32, PLD-04), and reads that wait for one look together."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from flowtide.errors import NamespaceForbidden, ValueInvalid
from flowtide.model.defaults import PluginDefaults
from flowtide.model.flow import PluginDefault
from flowtide.model.plugin import Plugin
from flowtide.services.platform.freshness import Freshness
from flowtide.services.platform.namespaces import Namespaces, checked_document, checked_name, lineage


class _Catalog:
    """Saved namespaces, and a look at the log that ends when it is told to."""

    def __init__(self, **documents: Any) -> None:
        self._saved = {name.replace("_", "."): document for name, document in documents.items()}
        self.looks: list[asyncio.Future[None]] = []

    def get(self, kind: str, tenant: str, name: str) -> Any:
        document = self._saved.get(name)
        if document is None or tenant != "main":
            return None
        return msgspec.convert({"deleted": False, "body": msgspec.json.encode(document)}, _Resource)

    async def catch_up(self) -> None:
        look: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.looks.append(look)
        await look


class _Resource(msgspec.Struct):
    deleted: bool
    body: bytes


def namespaces(**documents: Any) -> Namespaces:
    return Namespaces(_Catalog(**documents), "main")  # type: ignore[arg-type]  # what it uses of a catalog


def test_variables_lie_over_those_above() -> None:
    """V32: dotted names nest, maps are merged, the nearest value wins."""
    found = namespaces(
        a={"variables": {"github.token": "far", "github": {"user": "u"}, "list": [1]}},
        a_b={"variables": {"github": {"token": "near"}, "x.y": 1}},
    )
    assert found.variables("a.b.c") == {
        "github": {"token": "near", "user": "u"},
        "list": [1],
        "x": {"y": 1},
    }
    assert found.variables("a.b", own=False) == {"github": {"token": "far", "user": "u"}, "list": [1]}
    assert found.variables("b") == {}


def test_the_order_of_plugin_defaults() -> None:
    """PLD-04: forced global, forced namespaces, forced flow, task, flow, namespaces nearest first, global."""

    def levels(forced: bool) -> dict[str, list[PluginDefault]]:
        return {
            name: [PluginDefault(type="T", values={"value": name}, forced=forced)]
            for name in ("instance", "company", "team", "flow")
        }

    strong, weak = levels(True), levels(False)
    order = []
    given: dict[str, Any] = {"value": "task"}
    while strong or weak or given:
        chosen = {
            name: [*strong.get(name, []), *weak.get(name, [])]
            for name in ("instance", "company", "team", "flow")
        }
        defaults = PluginDefaults(chosen["flow"], chosen["instance"], [chosen["team"], chosen["company"]])
        value = str(defaults.apply("T", Plugin, given)["value"])
        if value == "task":
            given = {}
            order.append(value)
        else:
            levels_left = strong if value in strong else weak
            del levels_left[value]
            order.append(f"forced {value}" if levels_left is strong else value)
    assert order == [
        "forced instance",
        "forced company",
        "forced team",
        "forced flow",
        "task",
        "flow",
        "team",
        "company",
        "instance",
    ]


def test_who_may_use_what_a_namespace_has() -> None:
    """NSP-06: the nearest list counts; one's own is always there."""
    found = namespaces(a={"allowedNamespaces": []}, a_b={"allowedNamespaces": [{"namespace": "x.y"}]})
    for reader, owner in (("a", "a"), ("x.y", "a.b"), ("x.y.z", "a.b.c"), (None, "a"), ("a", "other")):
        found.check_access(reader, owner)
    for reader, owner in (("x", "a.b"), ("a", "a.b"), ("x.y", "a"), ("x.yz", "a.b")):
        with pytest.raises(NamespaceForbidden):
            found.check_access(reader, owner)


@pytest.mark.parametrize("name", ["", "A", ".a", "a/b", "a" * 151])
def test_names_that_are_none(name: str) -> None:
    """NSP-01: as in a flow."""
    with pytest.raises(ValueInvalid):
        checked_name(name)
    with pytest.raises(ValueInvalid):
        checked_document({"id": "other"}, "one")
    assert lineage("a.b.c") == ["a", "a.b", "a.b.c"]


async def test_readers_share_the_next_look() -> None:
    """Who comes while a look runs waits for the one after it, together with all who come meanwhile."""
    catalog = _Catalog()
    freshness = Freshness(catalog)  # type: ignore[arg-type]  # what it uses of a catalog
    first = asyncio.create_task(freshness.wait())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = [asyncio.create_task(freshness.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(catalog.looks) == 1
    catalog.looks[0].set_result(None)
    await first
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(catalog.looks) == 2
    assert not any(task.done() for task in later)
    later[0].cancel()
    catalog.looks[1].set_result(None)
    await asyncio.gather(*later[1:])
