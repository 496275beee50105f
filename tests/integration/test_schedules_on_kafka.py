"""From a saved flow to its executions on a real Kafka: two schedulers, one of which comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from flowtide.log.kafka import KafkaLog
from flowtide.log.keys import TriggerKey
from flowtide.processors.triggers import execution_id_of
from flowtide.services.catalog import Catalog
from flowtide.services.runtimes import triggers_runtime
from tests.unit.services.saved import REGISTRY, SCHEDULE, START, TOPICS, House, source

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

_FLOWS = [f"flow{number}" for number in range(6)]
_MINUTES = 6


def _render(template: Any, variables: Mapping[str, Any]) -> Any:
    return template


async def test_saved_schedules_fire_each_date_once_while_schedulers_come_and_go(kafka_address: str) -> None:
    """Saves are answered and caught up with; each date of each flow leads to one committed command."""
    prefix = f"schedules{uuid4().hex[:8]}_"
    log = KafkaLog(
        {"bootstrap.servers": kafka_address}, topic_prefix=prefix, consumer_prefix=prefix, partitions=2
    )
    await log.start()
    try:
        await log.ensure_topics(TOPICS)
        await _run(log)
    finally:
        await log.close()
        admin = AdminClient({"bootstrap.servers": kafka_address})
        for deleted in admin.delete_topics([prefix + topic.name for topic in TOPICS]).values():
            await asyncio.to_thread(deleted.result)


async def _run(log: KafkaLog) -> None:
    house = House(log)
    try:
        await house.catalog.start()
        await house.client.start()
        house.run_resources()
        schedulers = [house.run(_schedules(house, name)) for name in ("one", "two")]
        trigger = f"{{id: tick, type: {SCHEDULE}, cron: '* * * * *', allowConcurrent: true}}"
        for flow in _FLOWS:
            text = source(flow, "company.team", f"triggers: [{trigger}]")
            await house.client.save_flow("main", "company.team", flow, text, 0)
        other = Catalog(log, house.parse)
        await other.start()
        assert [flow.key.flow_id for flow in other.flows("main")] == _FLOWS
        await other.close()
        await house.records_when("trigger_events", lambda found: len(found) >= len(_FLOWS))
        for minute in range(1, _MINUTES + 1):
            house.clock.now = START.replace(minute=minute, second=0)
            if minute == 2:
                schedulers[0].cancel()
                with suppress(asyncio.CancelledError):
                    await schedulers[0]
            if minute == 4:
                house.run(_schedules(house, "one"))
            await asyncio.sleep(0.2)
        expected = sorted(
            f"main/{execution_id_of(TriggerKey('main', 'company.team', flow, 'tick'), date)}"
            for flow in _FLOWS
            for date in (
                datetime(2025, 1, 1, 12, tzinfo=UTC) + timedelta(minutes=m) for m in range(1, _MINUTES + 1)
            )
        )
        found = await house.records_when("execution_commands", lambda found: len(found) >= len(expected))
        await asyncio.sleep(1)  # time for a command too many
        found = await house.records("execution_commands")
        assert sorted(record.key for record in found) == expected
    finally:
        await house.close()


def _schedules(house: House, instance: str) -> Any:
    return triggers_runtime(
        house.log, instance=instance, clock=house.clock, registry=REGISTRY, render=_render
    )
