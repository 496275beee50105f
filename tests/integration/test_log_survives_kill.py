"""Processes that fold with state are killed at any moment: nothing is lost and nothing is decided twice."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Log, Record
from flowtide.testing.contracts.log import PARTITIONS, TOPICS
from tests.integration.log_folder import GROUP, KEYS, input_message

_FOLDER = Path(__file__).with_name("log_folder.py")
_PATIENCE_SECONDS = 60.0
_WAIT = timedelta(milliseconds=200)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_the_embedded_log_survives_kills(tmp_path: Path) -> None:
    """One process on a file, killed again and again while it appends and folds: each record has one answer."""
    path = tmp_path / "log.db"
    total = 6000
    dice = random.Random(7)  # moments, not secrets
    kills = 0
    while True:
        process = _start("embedded", str(path), str(total))
        try:
            code = await asyncio.to_thread(process.wait, dice.uniform(0.5, 1.2) if kills < 8 else 60.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        else:
            assert code == 0
            break
    log = EmbeddedLog(path, clock=time.time)
    await log.start()
    await log.ensure_topics(TOPICS)
    await _check(log, total)
    await log.close()
    assert kills >= 2, "it was over too soon to be killed"


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_the_log_on_kafka_survives_kills(kafka_address: str) -> None:
    """Two processes of a group, killed in turn while records come in: each record has one answer."""
    from flowtide.log.kafka import KafkaLog
    from tests.contracts.test_log_kafka import delete_topics

    prefix = f"test_kill_{uuid.uuid4().hex[:12]}_"
    log = KafkaLog({"bootstrap.servers": kafka_address}, topic_prefix=prefix, consumer_prefix=prefix)
    await log.start()
    await log.ensure_topics(TOPICS)
    dice = random.Random(11)  # moments, not secrets
    fed = 0
    with _processes("kafka", kafka_address, prefix, instances=("one", "two")) as running:
        ends = time.monotonic() + 20
        next_kill = time.monotonic() + 5
        while time.monotonic() < ends:
            await log.append([input_message(number) for number in range(fed, fed + 20)])
            fed += 20
            await asyncio.sleep(0.02)
            if time.monotonic() > next_kill:
                instance = dice.choice(sorted(running))
                running[instance].kill()
                running[instance].wait()
                running[instance] = _start("kafka", kafka_address, prefix, instance)
                next_kill = time.monotonic() + dice.uniform(1.0, 4.0)
        patience = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < patience and any((await log.lag(GROUP, ["input"])).values()):  # noqa: ASYNC110  # other processes work it off
            await asyncio.sleep(0.5)
    await _check(log, fed)
    await log.close()
    await asyncio.to_thread(delete_topics, kafka_address, prefix)


async def _check(log: Log, total: int) -> None:
    """Each record has one answer, with the right count; the state agrees; the positions are at the end."""
    assert set((await log.lag(GROUP, ["input"])).values()) == {0}
    answers: list[Record] = []
    reader = await log.reader("output", "beginning")
    while not await reader.at_end():
        answers += await reader.poll(maximum=5000, timeout=_WAIT)
    numbers = Counter(int((answer.value or b"").split()[0]) for answer in answers)
    assert sorted(set(range(total)) - numbers.keys()) == [], "lost"
    assert [number for number, times in numbers.items() if times > 1] == [], "twice"
    expected = {f"t/{key}": len(range(key, total, KEYS)) for key in range(KEYS)}
    last = {answer.key: int((answer.value or b"").split()[1]) for answer in answers}
    assert last == expected
    consumer = await log.consumer(group=GROUP, topics=["input"], instance="checker", state_topic="state")
    state: dict[str, int] = {}
    owned = 0
    while owned < PARTITIONS:
        polled = await consumer.poll(maximum=1, timeout=_WAIT)
        owned += len(polled.assigned)
        for assigned in polled.assigned:
            state.update((key, int(value)) for key, value in assigned.state.items())
    assert state == expected


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(_FOLDER), *arguments])


@contextmanager
def _processes(*arguments: str, instances: tuple[str, ...]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    running = {instance: _start(*arguments, instance) for instance in instances}
    try:
        yield running
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
