"""Who listens to executions: which flows are told, and which are not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flowtide.log.embedded import EmbeddedLog
from flowtide.model.flow import Flow
from flowtide.model.resources import ResourceKind
from flowtide.model.source import parse_flow
from flowtide.model.states import State
from flowtide.services.catalog import Catalog
from flowtide.services.listeners import ListenerTable
from flowtide.services.plugins import discover_plugins
from tests.unit.services.saved import START, TOPICS, House

REGISTRY = discover_plugins()
CONDITION = "io.kestra.plugin.core.condition"


def source(flow_id: str, trigger: str | None, namespace: str = "company.team", more: str = "") -> str:
    """A flow with a Flow trigger, whose properties are a YAML map in one line."""
    text = f"id: {flow_id}\nnamespace: {namespace}\n"
    text += "tasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: m}]\n"
    if trigger is not None:
        text += f"triggers:\n  - {{id: up, type: io.kestra.plugin.core.trigger.Flow, {trigger}}}\n"
    return text + more


class Saved(House):
    """A house whose flows are of the real types."""

    def parse(self, text: str, tenant: str = "main") -> Flow:
        self.parses += 1
        return parse_flow(text, REGISTRY).valid()

    async def save(self, flow_id: str, trigger: str | None, more: str = "") -> None:
        text = source(flow_id, trigger, more=more)
        await self.client.save_flow("main", "company.team", flow_id, text)


@pytest.fixture
async def house() -> AsyncIterator[Saved]:
    log = EmbeddedLog(None, clock=START.timestamp, threaded=False)
    await log.start()
    await log.ensure_topics(TOPICS)
    house = Saved(log)
    try:
        await house.catalog.start()
        await house.client.start()
        house.run_resources()
        yield house
    finally:
        await house.close()
        await log.close()


def told(
    table: ListenerTable, namespace: str, flow_id: str, state: State = State.SUCCESS, tenant: str = "main"
) -> list[str]:
    """The ids of the flows that are told."""
    return sorted(each.flow_id for each in table(tenant, namespace, flow_id, state))


async def test_only_flows_that_may_want_an_execution_are_told(house: Saved) -> None:
    """By flow, by namespace, by the beginning of one, or all; each flow once, and by states."""
    one = "preconditions: {id: p, flows: [{namespace: company.team, flowId: a, states: [SUCCESS, RUNNING]}]}"
    await house.save("of_flow", one)
    await house.save("of_namespace", "preconditions: {id: p, flows: [{namespace: company.team}]}")
    where = "{id: w, filters: [{field: NAMESPACE, type: STARTS_WITH, value: comp}]}"
    await house.save("of_prefix", f"preconditions: {{id: p, where: [{where}]}}")
    await house.save("of_all", "states: [FAILED, SUCCESS]")
    narrow = f"{{type: {CONDITION}.ExecutionFlow, namespace: company.team, flowId: a}}"
    wide = f"{{type: {CONDITION}.ExecutionNamespace, namespace: company, prefix: true}}"
    await house.save("of_both", f"conditions: [{wide}, {narrow}]")
    await house.save("of_either", f"conditions: [{{type: {CONDITION}.Or, conditions: [{wide}, {narrow}]}}]")
    await house.save("of_none", None)
    table = ListenerTable(house.catalog)
    everybody = ["of_all", "of_both", "of_either", "of_flow", "of_namespace", "of_prefix"]
    assert told(table, "company.team", "a") == everybody
    assert told(table, "company.team", "z") == ["of_all", "of_either", "of_namespace", "of_prefix"]
    assert told(table, "company", "a") == ["of_all", "of_either", "of_prefix"]
    assert told(table, "elsewhere", "a") == ["of_all"]
    assert told(table, "company.team", "a", State.RUNNING) == ["of_flow"]
    assert told(table, "company.team", "a", State.PAUSED) == [
        "of_both", "of_either", "of_flow", "of_namespace", "of_prefix",
    ]  # fmt: skip  # reads better as a line
    assert told(table, "company.team", "a", tenant="other") == []


async def test_the_table_follows_what_is_saved(house: Saved) -> None:
    """Saved, changed, disabled, deleted: without reading any other flow again."""
    table = ListenerTable(house.catalog)
    assert told(table, "company.team", "a") == []
    await house.save("plain", None)
    parses = house.parses
    await house.save("b", "states: [SUCCESS]")
    assert [(each.flow_id, each.revision) for each in table("main", "x", "y", State.SUCCESS)] == [("b", 1)]
    await house.save("b", "states: [FAILED]")
    assert told(table, "company.team", "a") == []
    assert told(table, "company.team", "a", State.FAILED) == ["b"]
    await house.save("b", "states: [FAILED], disabled: true")
    assert told(table, "company.team", "a", State.FAILED) == []
    await house.save("b", "states: [FAILED]", "disabled: true\n")
    assert told(table, "company.team", "a", State.FAILED) == []
    await house.save("b", "states: [FAILED]")
    assert told(table, "company.team", "a", State.FAILED) == ["b"]
    await house.client.delete(ResourceKind.FLOW, "main", "company.team/b")
    assert told(table, "company.team", "a", State.FAILED) == []
    assert house.parses - parses <= 2 * 5  # on the way to being saved, and for the table


async def test_a_flow_without_the_type_in_its_source_is_not_parsed(house: Saved) -> None:
    """A start with many flows pays for those with Flow triggers only."""
    await house.save("plain", None)
    await house.save("b", "states: [SUCCESS]")
    catalog = Catalog(house.log, house.parse)
    await catalog.start()
    try:
        before = house.parses
        table = ListenerTable(catalog)
        assert house.parses == before + 1
        assert told(table, "company.team", "a") == ["b"]
    finally:
        await catalog.close()


async def test_a_flow_is_told_of_its_own_executions_only_for_stop_after(house: Saved) -> None:
    """TRG-07: the end of what it started may switch the trigger off."""
    flow = "preconditions: {id: p, flows: [{namespace: company.team, flowId: a}]}"
    await house.save("b", f"{flow}, stopAfter: [FAILED]")
    table = ListenerTable(house.catalog)
    assert told(table, "company.team", "b", State.FAILED) == ["b"]
    assert told(table, "company.team", "b", State.SUCCESS) == []
