"""A process for the kill tests: folds "input" into "output" with state, until it is killed or told to stop.

`python log_folder.py kafka ADDRESS PREFIX INSTANCE` joins the group and folds until SIGTERM.
`python log_folder.py embedded PATH TOTAL` also appends the input, as far as it is not there, and ends when all of it
was folded.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from flowtide.errors import Fenced, LogUnavailable
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Log, Message, Partition, StateChange
from flowtide.testing.contracts.log import TOPICS

GROUP = "folders"
KEYS = 40  # things that the records are about
_WAIT = timedelta(milliseconds=100)


def input_message(number: int) -> Message:
    """The record with this number."""
    return Message(topic="input", key=f"t/{number % KEYS}", value=b"%d" % number)


async def fold(log: Log, instance: str, *, over: Callable[[int], bool]) -> None:
    """Count the records of each key and answer each with its number and the count, until `over(folded)`."""
    counts: dict[int, dict[str, int]] = {}
    consumer = await log.consumer(group=GROUP, topics=["input"], instance=instance, state_topic="state")
    try:
        while not over(sum(count for keys in counts.values() for count in keys.values())):
            polled = await consumer.poll(maximum=50, timeout=_WAIT)
            for revoked in polled.revoked:
                del counts[revoked.number]
            for assigned in polled.assigned:
                counts[assigned.partition.number] = {key: int(value) for key, value in assigned.state.items()}
            positions: dict[Partition, int] = {}
            messages: list[Message] = []
            changes: dict[tuple[int, str], StateChange] = {}
            for record in polled.records:
                keys = counts[record.partition]
                keys[record.key] = keys.get(record.key, 0) + 1
                positions[Partition("input", record.partition)] = record.offset + 1
                answer = b"%s %d" % (record.value or b"", keys[record.key])
                messages.append(
                    Message(topic="output", key=record.key, value=answer, partition=record.partition)
                )
                changes[record.partition, record.key] = StateChange(
                    partition=record.partition, key=record.key, value=b"%d" % keys[record.key]
                )
            if positions:
                await consumer.commit(positions=positions, messages=messages, changes=list(changes.values()))
    finally:
        await consumer.close()


async def fold_on_kafka(address: str, prefix: str, instance: str) -> None:
    """Fold until SIGTERM; start again after being fenced, as a service does."""
    from flowtide.log.kafka import KafkaLog

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    log = KafkaLog({"bootstrap.servers": address}, topic_prefix=prefix, consumer_prefix=prefix)
    await log.start()
    await log.ensure_topics(TOPICS)
    while not stopped.is_set():
        try:
            await fold(log, instance, over=lambda _: stopped.is_set())
        except (Fenced, LogUnavailable) as error:
            print(instance, "starts again:", error, flush=True)  # noqa: T201  # for whoever debugs the test
    await log.close()


async def fold_embedded(path: Path, total: int) -> None:
    """Append what is missing of the input, in many small units, and fold all of it."""
    log = EmbeddedLog(path, clock=time.time)
    await log.start()
    await log.ensure_topics(TOPICS)

    async def feed() -> None:
        for number in range(sum((await log.end_offsets("input")).values()), total):
            await log.append([input_message(number)])

    await asyncio.gather(feed(), fold(log, "one", over=lambda folded: folded >= total))
    await log.close()


if __name__ == "__main__":
    if sys.argv[1] == "kafka":
        asyncio.run(fold_on_kafka(*sys.argv[2:5]))
    else:
        asyncio.run(fold_embedded(Path(sys.argv[2]), int(sys.argv[3])))
