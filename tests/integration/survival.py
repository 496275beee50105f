"""Load on real processes and what must hold afterwards: nothing lost, nothing decided twice, nothing stuck.

In come an installation and the executions that its API accepted; the checks read the events on its log, which are the
truth, and the API, which is what people see.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import aiohttp

from flowtide.log.port import Log
from flowtide.model.events import (
    EVENT_DECODER,
    ExecutionClosed,
    ExecutionCreated,
    ExecutionEnded,
    ExecutionEvent,
    TaskRunCreated,
    TaskRunEnded,
    TaskRunResubmitted,
)
from flowtide.model.states import State
from flowtide.testing.servers import Api, Server, read_all

LOAD = """
id: load
namespace: survival
inputs:
  - id: number
    type: INT
tasks:
  - id: first
    type: io.kestra.plugin.core.output.OutputValues
    values:
      number: "{{ inputs.number }}"
  - id: loop
    type: io.kestra.plugin.core.flow.ForEach
    values: ["a", "b", "c"]
    concurrencyLimit: 2
    tasks:
      - id: step
        type: io.kestra.plugin.core.debug.Return
        format: "{{ taskrun.value }}-{{ inputs.number }}"
  - id: wait
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT1.5S
  - id: choose
    type: io.kestra.plugin.core.flow.If
    condition: "{{ outputs.first.values.number ~ '' == inputs.number ~ '' }}"
    then:
      - id: same
        type: io.kestra.plugin.core.debug.Return
        format: "same"
    else:
      - id: other
        type: io.kestra.plugin.core.execution.Fail
  - id: last
    type: io.kestra.plugin.core.log.Log
    message: "number {{ outputs.first.values.number }}"
"""
logger = logging.getLogger(__name__)

TASKS_OF_LOAD = Counter({"step": 3, "first": 1, "loop": 1, "wait": 1, "choose": 1, "same": 1, "last": 1})

TICK = """
id: tick
namespace: survival
tasks:
  - id: say
    type: io.kestra.plugin.core.debug.Return
    format: "{{ trigger.date }}"
triggers:
  - id: every_second
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "* * * * * *"
    withSeconds: true
    allowConcurrent: true
"""
NO_TICK = TICK.replace("withSeconds: true", "withSeconds: true\n    disabled: true")


@dataclass
class Load:
    """Asks for executions at a steady rate until it is told to stop; an unanswered request is no loss."""

    port: int
    per_second: float
    seconds: float = 0.0  # how long it asked
    accepted: list[str] = field(default_factory=list)
    unanswered: int = 0
    refused: list[str] = field(default_factory=list)
    _stopped: bool = False

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True

    async def run(self) -> None:
        """Ask, and keep the ids that were accepted."""
        async with Api(self.port) as api, asyncio.TaskGroup() as group:
            number = 0
            begun = time.monotonic()
            while not self._stopped:
                group.create_task(self._ask(api, number))
                number += 1
                await asyncio.sleep(max(0.0, begun + number / self.per_second - time.monotonic()))
            self.seconds = time.monotonic() - begun

    async def _ask(self, api: Api, number: int) -> None:
        try:
            answer = await api.start("survival", "load", {"number": str(number)})
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.unanswered += 1
            return
        if answer.status == 200:
            self.accepted.append(answer.body["id"])
        elif answer.status in (404, 503):
            self.unanswered += 1  # not ready: flows are not read yet, or the log cannot be reached
        else:
            self.refused.append(str(answer))


@dataclass
class History:
    """The events of every execution on a log, in the order of the log."""

    events: dict[str, list[ExecutionEvent]]

    @classmethod
    async def read(cls, log: Log) -> History:
        """Read all of it."""
        events: dict[str, list[ExecutionEvent]] = defaultdict(list)
        for record in await read_all(log, "execution_events"):
            event = EVENT_DECODER.decode(record.value or b"")
            events[event.execution_id].append(event)
        return cls(events)

    def of_flow(self, flow_id: str) -> dict[str, list[ExecutionEvent]]:
        """Those of one flow."""
        found = {}
        for execution_id, events in self.events.items():
            created = events[0]
            if isinstance(created, ExecutionCreated) and created.flow_id == flow_id:
                found[execution_id] = events
        return found

    @property
    def open(self) -> list[str]:
        """The executions that have not ended."""
        return [
            execution_id
            for execution_id, events in self.events.items()
            if not any(isinstance(event, ExecutionEnded) for event in events)
        ]

    def check(self) -> None:
        """Numbers without gaps, one creation, one end, each task run created and ended once, nothing after the end."""
        for execution_id, events in self.events.items():
            named = f"{execution_id}: {[(e.number, type(e).__name__) for e in events]}"
            assert [event.number for event in events] == list(range(len(events))), f"numbers of {named}"
            kinds = Counter(type(event) for event in events)
            assert kinds[ExecutionCreated] == 1, f"created of {named}"
            assert kinds[ExecutionEnded] == 1, f"ended of {named}"
            end = next(event for event in events if isinstance(event, ExecutionEnded))
            assert end.closed or kinds[ExecutionClosed] == 1, f"closed of {named}"
            created = Counter(
                (event.task_id, event.parent_id, event.value, event.iteration)
                for event in events
                if isinstance(event, TaskRunCreated)
            )
            assert [place for place, times in created.items() if times > 1] == [], f"decided twice in {named}"
            runs = Counter(event.run_id for event in events if isinstance(event, TaskRunCreated))
            ended = Counter(event.run_id for event in events if isinstance(event, TaskRunEnded))
            born_over = {
                event.run_id
                for event in events
                if isinstance(event, TaskRunCreated) and event.state.is_terminal
            }
            assert set(runs) == set(ended) | born_over, f"task runs of {named}"
            assert [run for run, times in ended.items() if times > 1] == [], f"ended twice in {named}"

    def check_load(self, accepted: Collection[str]) -> None:
        """Every accepted execution is there, ended well, and ran exactly its tasks."""
        load = self.of_flow("load")
        assert sorted(set(accepted) - set(load)) == [], "lost"
        for execution_id, events in load.items():
            end = next(event for event in events if isinstance(event, ExecutionEnded))
            assert end.state is State.SUCCESS, f"{execution_id} ended {end.state}: {end.error}"
            tasks = Counter(event.task_id for event in events if isinstance(event, TaskRunCreated))
            assert tasks == TASKS_OF_LOAD, execution_id

    def check_ticks(self, at_least: int) -> None:
        """The schedule fired at every second between the first and the last one, exactly once; so many times."""
        dates: list[datetime] = []
        for events in self.of_flow("tick").values():
            created = events[0]
            assert isinstance(created, ExecutionCreated)
            assert created.trigger is not None
            dates.append(datetime.fromisoformat(str(created.trigger.variables["date"])))
        dates.sort()
        assert len(dates) >= at_least, "the schedule stopped"
        steps = Counter(later - earlier for earlier, later in pairwise(dates))
        assert set(steps) <= {timedelta(seconds=1)}, f"fired twice (0) or left out (>1): {steps}"

    @property
    def resubmitted(self) -> list[str]:
        """The executions of which a dead worker's attempt was handed out again."""
        return [
            execution_id
            for execution_id, events in self.events.items()
            if any(isinstance(event, TaskRunResubmitted) for event in events)
        ]

    def tell(self, title: str, load: Load, **more: object) -> None:
        """Log what was shown, for `--log-cli-level=INFO`."""
        told = {
            "accepted": len(load.accepted),
            "unanswered": load.unanswered,
            "executions": len(self.events),
            "ticks": len(self.of_flow("tick")),
            "events": sum(len(events) for events in self.events.values()),
            "with a resubmitted attempt": len(self.resubmitted),
            **more,
        }
        logger.info("%s: %s", title, ", ".join(f"{value} {name}" for name, value in told.items()))


async def busy_one(servers: Sequence[Server], patience_seconds: float = 20.0) -> Server:
    """One whose worker runs a task, so that a kill hits it; whichever when none has anything to do for so long."""
    ends = time.monotonic() + patience_seconds
    while time.monotonic() < ends:
        for server in servers:
            if await server.busy():
                return server
        await asyncio.sleep(0.02)
    return servers[0]


async def check_seen(api: Api, history: History, *, patience_seconds: float = 30.0) -> None:
    """What the API shows agrees with the log: as many executions, all task runs, lost attempts RESUBMITTED."""
    expected = len(history.of_flow("load"))
    ends = time.monotonic() + patience_seconds
    while (found := await api.found("load")) != expected and time.monotonic() < ends:  # noqa: ASYNC110  # another process indexes
        await asyncio.sleep(0.25)
    assert found == expected, f"the index has {found} of {expected} executions"
    running = {"flowId": "load", "state": "RUNNING", "size": "1"}
    # That all are found does not mean that the end of the last one is.
    while (open_ones := await api.call("GET", "/executions/search", params=running)).body["total"] != 0:
        if time.monotonic() > ends:
            break
        await asyncio.sleep(0.25)
    assert open_ones.body["total"] == 0, open_ones
    for execution_id in history.resubmitted[:5]:
        execution = await complete(api, execution_id)
        states = [
            attempt["state"]["current"]
            for run in execution["taskRunList"]
            for attempt in run.get("attempts") or ()
            if len(run["attempts"]) > 1
        ]
        assert "RESUBMITTED" in states, execution
        assert states[-1] == "SUCCESS", execution


async def complete(api: Api, execution_id: str, patience_seconds: float = 30.0) -> dict[str, Any]:
    """An execution that is over, with all its task runs, as soon as the index has them."""
    ends = time.monotonic() + patience_seconds
    while True:
        execution = await api.ended(execution_id, patience_seconds)
        if len(execution["taskRunList"]) == execution["taskRunCount"]["total"] or time.monotonic() > ends:
            return execution
        await asyncio.sleep(0.2)


async def all_ended(log: Log, patience_seconds: float = 90.0) -> History:
    """Wait until no execution is open, and give the whole history.  Raises AssertionError with those that are stuck."""
    ends = time.monotonic() + patience_seconds
    while True:
        history = await History.read(log)
        if not history.open:
            return history
        if time.monotonic() > ends:
            stuck = {
                name: [(e.number, type(e).__name__, getattr(e, "run_id", "")) for e in history.events[name]]
                for name in history.open[:3]
            }
            raise AssertionError(f"{len(history.open)} executions are stuck: {stuck}")
        await asyncio.sleep(1.0)
