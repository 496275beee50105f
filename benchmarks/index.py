"""Measures the index and the indexer: documents per second, processor time an execution, and searches.

    python -m benchmarks.index [--executions 100000] [--elasticsearch http://127.0.0.1:9200]

Two-task executions (nine events, two task runs, one log line) go through the log and the indexer into the index;
then searches run on what is there.  Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from flowtide.index.embedded import EmbeddedIndex
from flowtide.index.kinds import KINDS
from flowtide.index.port import Index
from flowtide.index.queries import (
    AllOf,
    Dates,
    HasLabel,
    Match,
    Measure,
    Operation,
    Query,
    Sort,
    Terms,
    Words,
)
from flowtide.index.queries import where as having
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Message
from flowtide.log.topics import load_topics
from flowtide.model import events as e
from flowtide.model.entries import Level, LogEntry
from flowtide.model.identifiers import derived_identifier
from flowtide.model.records import ENCODER, Cause, Label
from flowtide.model.states import State
from flowtide.services.indexer import Indexer

START = datetime(2026, 3, 1, tzinfo=UTC)


def records(
    number: int, *, start: datetime = START, apart: timedelta = timedelta(seconds=7), lines: int = 1
) -> list[Message]:
    """What one execution of two tasks puts on the log; the first began at `start`, each `apart` from the next."""
    execution = execution_id(number)
    runs = [derived_identifier(execution, str(task)) for task in range(2)]
    at = start + number * apart
    cause = Cause(command="ReportRunEnded", record="3/123456", by="worker-1")
    ended = State.FAILED if number % 10 == 0 else State.SUCCESS
    count = iter(range(20))

    def common() -> dict[str, Any]:
        place = next(count)
        return {
            "tenant_id": "main",
            "execution_id": execution,
            "number": place,
            "at": at + timedelta(milliseconds=3 * place),
            "cause": cause,
        }

    events: list[e.Event] = [
        e.ExecutionCreated(
            **common(),
            namespace=f"company.team{number % 20}",
            flow_id=f"flow-{number % 100}",
            flow_revision=1,
            inputs={"greeting": "hello", "count": number},
            labels=[Label(key="team", value=f"t{number % 7}")],
        ),
        e.ExecutionStarted(**common()),
    ]
    for task, run in enumerate(runs):
        events += [
            e.TaskRunCreated(
                **common(), run_id=run, task_id=f"task{task}", state=State.SUBMITTED, index=task
            ),
            e.TaskRunStarted(**common(), run_id=run, attempt=0, worker_id="worker-1"),
            e.TaskRunEnded(**common(), run_id=run, state=ended, outputs={"value": f"result {number}"}),
        ]
    events.append(e.ExecutionEnded(**common(), state=ended))
    key = f"main/{execution}"
    messages = [Message(topic="execution_events", key=key, value=ENCODER.encode(event)) for event in events]
    for place in range(lines):
        line = LogEntry(
            tenant_id="main",
            namespace=f"company.team{number % 20}",
            flow_id=f"flow-{number % 100}",
            timestamp=at + timedelta(milliseconds=place),
            level=Level.ERROR if place == 0 and ended is State.FAILED else Level.INFO,
            message=f"Hello from execution number {number} of the benchmark, all went well",
            execution_id=execution,
            task_id="task0",
            task_run_id=runs[0],
            attempt_number=0,
            thread="worker-1",
        )
        messages.append(Message(topic="logs", key=key, value=ENCODER.encode(line)))
    return messages


def execution_id(number: int) -> str:
    """The id of an execution that `records` makes."""
    return derived_identifier("execution", str(number))


async def fill(index: Index, executions: int, batch: int) -> dict[str, Any]:
    """Index so many executions through the log; only the indexer's own time counts."""
    log = EmbeddedLog(None, clock=time.time)
    await log.start()
    await log.ensure_topics(list(load_topics().values()))
    indexer = Indexer(log, index, clock=lambda: datetime.now(UTC), batch_size=batch)
    await indexer.step()
    wall = cpu = 0.0
    portion = 500
    for first in range(0, executions, portion):
        batches = [records(number) for number in range(first, min(first + portion, executions))]
        await log.append([message for group in batches for message in group])
        start, used = time.perf_counter(), time.process_time()
        while await indexer.step():
            pass
        wall += time.perf_counter() - start
        cpu += time.process_time() - used
    await indexer.close()
    await log.close()
    documents = executions * 12
    return {
        "executions": executions,
        "documents_per_second": round(documents / wall),
        "executions_per_second": round(executions / wall),
        "cpu_ms_per_execution": round(cpu / executions * 1_000, 3),
        "batch_records": batch,
    }


def searches() -> dict[str, Callable[[Index], Awaitable[Any]]]:
    """What people look for."""
    newest = (Sort("startDate", descending=True),)
    execution = derived_identifier("execution", "777")
    recent = Match("startDate", Operation.GREATER_THAN, START + timedelta(days=2))

    def search(**query: Any) -> Callable[[Index], Awaitable[Any]]:
        return lambda index: index.search("main", Query(**query))

    return {
        "latest": search(kind="executions", sort=newest),
        "latest without total": search(kind="executions", sort=newest, count=False),
        "page 100": search(kind="executions", sort=newest, page=100),
        "of a flow": search(
            kind="executions", filter=having(namespace="company.team3", flowId="flow-23"), sort=newest
        ),
        "namespace and below": search(
            kind="executions", filter=Match("namespace", Operation.PREFIX, "company"), sort=newest
        ),
        "failed": search(kind="executions", filter=having(state="FAILED"), sort=newest),
        "failed recently": search(
            kind="executions", filter=AllOf((having(state="FAILED"), recent)), sort=newest
        ),
        "by label": search(kind="executions", filter=HasLabel("team", "t3"), sort=newest),
        "by correlation": search(
            kind="executions", filter=HasLabel("system.correlationId", execution), sort=newest
        ),
        "part of an id": search(kind="executions", filter=Words(execution[4:12]), sort=newest),
        "part of a namespace": search(kind="executions", filter=Words("team13"), sort=newest),
        "by duration": search(kind="executions", sort=(Sort("duration", descending=True),)),
        "words in logs": search(
            kind="logs", filter=Words("number 4711"), sort=(Sort("timestamp", descending=True),)
        ),
        "logs of an execution": lambda index: index.logs("main", execution),
        "task runs of an execution": lambda index: index.task_runs("main", execution),
        "events of an execution": lambda index: index.events("main", execution, 0, 100),
        "one by id": lambda index: index.get("executions", "main", execution),
        "counts by day and state": lambda index: index.aggregate(
            "main",
            "executions",
            groups=[Dates("startDate", "day"), Terms("state")],
            measures=[Measure("average", "duration")],
        ),
    }


async def measure(index: Index, times: int) -> dict[str, Any]:
    """p50 and p95 of each search in milliseconds."""
    result: dict[str, Any] = {}
    for name, search in searches().items():
        taken: list[float] = []
        for _ in range(times):
            start = time.perf_counter()
            await search(index)
            taken.append((time.perf_counter() - start) * 1_000)
        quantiles = statistics.quantiles(taken, n=20)
        result[name] = {"p50_ms": round(statistics.median(taken), 2), "p95_ms": round(quantiles[-1], 2)}
    return result


async def embedded(executions: int, times: int) -> dict[str, Any]:
    """The embedded index in a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.db"
        index = EmbeddedIndex(path)
        await index.start()
        result = await fill(index, executions, 500)
        result["searches"] = await measure(index, times)
        await index.close()
        result["bytes_per_execution"] = round(path.stat().st_size / executions)
    result["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024)
    return result


async def elasticsearch(url: str, executions: int, times: int) -> dict[str, Any]:
    """Elasticsearch, under names of this run's own that are removed afterwards."""
    from flowtide.index.elasticsearch import ElasticsearchIndex

    index = ElasticsearchIndex(url, prefix=f"bench{uuid4().hex[:8]}_", replicas=0)
    await index.start()
    try:
        result = await fill(index, executions, 2_000)
        await index.refresh()
        result["searches"] = await measure(index, times)
    finally:
        await index.remove()
        await index.close()
    return result


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """All that was asked for."""
    results: dict[str, Any] = {"kinds": list(KINDS)}
    if not arguments.without_embedded:
        results["embedded"] = await embedded(arguments.executions, arguments.times)
    if arguments.elasticsearch:
        results["elasticsearch"] = await elasticsearch(
            arguments.elasticsearch, arguments.executions, arguments.times
        )
    return results


def main(given: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=20, help="how often each search runs")
    parser.add_argument(
        "--elasticsearch", default="", help="its URL; without it only the embedded index is measured"
    )
    parser.add_argument("--without-embedded", action="store_true")
    print(json.dumps(asyncio.run(run(parser.parse_args(given))), indent=2))


if __name__ == "__main__":
    main()
