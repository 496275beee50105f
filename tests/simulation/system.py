"""One simulation: a seed in, a story of faults played on the whole system, every check made; Broken or nothing out."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import structlog

from flowtide.engine.plan import Plan
from flowtide.engine.reopening import Kind, Lost, Reopening
from flowtide.engine.replay import replay_fields, reused_portions
from flowtide.errors import FlowtideError, LogUnavailable
from flowtide.index.history import ExecutionView
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.keys import ExecutionKey
from flowtide.log.port import Message
from flowtide.log.topics import load_topics
from flowtide.model.commands import (
    CreateExecution,
    ExecutionCommand,
    KillExecution,
    PauseExecution,
    RestartExecution,
    ResumeExecution,
)
from flowtide.model.identifiers import derived_identifier
from flowtide.model.records import encode
from flowtide.model.services import ServiceType
from flowtide.model.states import State
from flowtide.processors.runtime import Runtime
from flowtide.services.catalog import Catalog
from flowtide.services.past import Past
from flowtide.services.saving import ResourceClient
from flowtide.testing.clock import VirtualLoop, run_virtual
from tests.simulation import checks
from tests.simulation.faulty_log import Faults, FaultyLog
from tests.simulation.servers import ATTEMPTS, SERVER, MemoryIndex, Server, parse

EVERY = timedelta(minutes=1)
LIMITS = {"limited": 1, "limited-two": 2, "renewed": 2}
FLOWS = {
    "follows": """
triggers:
  - id: up
    type: io.kestra.plugin.core.trigger.Flow
    states: [SUCCESS, WARNING, FAILED, KILLED, CANCELLED]
    preconditions: {id: upstream, flows: [{namespace: test, flowId: two}]}
tasks:
  - {id: only, type: Note}
""",
    "two": """
tasks:
  - {id: first, type: Note}
  - {id: second, type: Work, seconds: 2}
afterExecution:
  - {id: after, type: Note}
""",
    "flaky": """
tasks:
  - {id: first, type: Work, failures: 0.5, retry: {type: constant, interval: PT10S, maxAttempts: 3}}
  - {id: second, type: Note, failures: 0.3, retry: {type: exponential, interval: PT1S, maxInterval: PT9S}}
errors:
  - {id: handler, type: Note}
finally:
  - {id: clean, type: Work, seconds: 0.5}
""",
    "loop": """
tasks:
  - id: loop
    type: ForEach
    values: [a, b, c, d, e]
    concurrencyLimit: 2
    tasks:
      - {id: skipped, type: Note, runIf: "{{ taskrun.value == 'c' }}"}
      - id: beside
        type: Parallel
        tasks:
          - {id: one, type: Note}
          - {id: two, type: Work, seconds: 0.5, failures: 0.05}
""",
    "limited": """
concurrency: {limit: 1}
tasks:
  - {id: only, type: Work, seconds: 3}
""",
    "limited-two": """
concurrency: {limit: 2, behavior: CANCEL}
tasks:
  - {id: only, type: Work, seconds: 5}
  - {id: then, type: Note}
""",
    "parent": """
tasks:
  - {id: first, type: Note}
  - id: beside
    type: Parallel
    tasks:
      - {id: call, type: Subflow, namespace: test, flowId: two}
      - {id: again, type: Subflow, namespace: test, flowId: flaky, transmitFailed: false}
      - {id: alone, type: Subflow, namespace: test, flowId: limited, wait: false}
  - {id: missing, type: Subflow, namespace: test, flowId: nobody, allowFailure: true}
""",
    "directory": """
tasks:
  - id: dir
    type: WorkingDirectory
    tasks:
      - {id: one, type: Work, seconds: 1}
      - id: beside
        type: Parallel
        tasks:
          - {id: left, type: Work, seconds: 2}
          - {id: right, type: Work, seconds: 0.5, failures: 0.2, retry: {type: constant, interval: PT5S}}
      - {id: two, type: Work, failures: 0.05}
    finally:
      - {id: clean, type: Work, seconds: 0.2}
  - {id: last, type: Note}
""",
    "retried": """
retry: {type: constant, interval: PT5S, maxAttempts: 3}
tasks:
  - {id: first, type: Note}
  - {id: second, type: Work, failures: 0.6}
""",
    "renewed": """
concurrency: {limit: 2}
retry: {type: constant, interval: PT5S, maxAttempts: 3, behavior: CREATE_NEW_EXECUTION}
sla:
  - {id: slow, type: MAX_DURATION, duration: PT5S, behavior: NONE, labels: {sla: missed}}
  - {id: right, type: EXECUTION_ASSERTION, assert: "{{ outputs.first.value == 'first' }}", behavior: FAIL}
tasks:
  - {id: first, type: Note}
  - {id: second, type: Work, failures: 0.6}
""",
    "pauses": """
tasks:
  - {id: wait, type: Pause, pauseDuration: PT40S, behavior: WARN}
  - {id: then, type: Work}
""",
    "scheduled": """
triggers:
  - {id: every, type: Schedule, cron: "* * * * *"}
tasks:
  - {id: only, type: Note}
""",
}
STARTED_BY_TRIGGERS = ("follows", "scheduled")
_HEALING = timedelta(minutes=40)
_ROUNDS = 12


@contextmanager
def _silence() -> Iterator[None]:
    """No log lines while a story is played; it would be full of the faults that it is about."""
    configured, disabled = structlog.get_config(), logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**configured)
        logging.disable(disabled)


class Simulation:
    """The system and what happens to it.

    `alter` is given every runtime of a processor before it starts, so that a test can break it on purpose.
    """

    def __init__(self, seed: int, steps: int, *, alter: Callable[[Runtime], None] = lambda _: None) -> None:
        self.seed = seed
        self.steps = steps
        self.story: list[str] = []
        self.accepted: list[str] = []  # executions whose request was answered
        self._requested: list[str] = []
        self.fired = 0
        self._sources = {name: f"id: {name}\nnamespace: test\n{tasks}" for name, tasks in FLOWS.items()}
        self._random = Random(seed)
        self._alter = alter
        self._clients: set[asyncio.Task[Any]] = set()

    def run(self) -> None:
        """Play it.  Raises Broken, or whatever ended a server by a defect."""
        ATTEMPTS.clear()
        with _silence(), TemporaryDirectory(prefix="flowtide-simulation-") as folder:
            run_virtual(lambda loop: self._play(loop, Path(folder)))

    async def _play(self, loop: VirtualLoop, folder: Path) -> None:
        self._loop = loop
        self._servers: list[Server] = []
        loop.set_task_factory(self._make_task)
        loop.set_exception_handler(self._unhandled)
        self._log = EmbeddedLog(None, clock=lambda: loop.now().timestamp(), partitions=2, threaded=False)
        await self._log.start()
        await self._log.ensure_topics(list(load_topics().values()))
        self._index = MemoryIndex()
        self._faults = Faults(Random(self._random.random()))
        self._faults.crash = self._crash_in_call
        self._faults.tell = lambda what: self._tell(f"     {loop.now():%H:%M:%S.%f}", what)
        for name, kind in (
            ("executor-1", ServiceType.EXECUTOR),
            ("executor-2", ServiceType.EXECUTOR),
            ("worker-1", ServiceType.WORKER),
            ("worker-2", ServiceType.WORKER),
            ("scheduler-1", ServiceType.SCHEDULER),
            ("scheduler-2", ServiceType.SCHEDULER),
            ("indexer-1", ServiceType.INDEXER),
        ):
            server = Server(name, kind, self._log, self._index, self._faults, loop, folder, self._alter)
            self._servers.append(server)
            server.start()
        await self._save_flows()
        await self._change("     ")
        for number in range(self.steps):
            await self._step(number)
            self._check_servers()
        await self._heal()
        self._check_end()
        for server in self._servers:
            server.crash()
        await asyncio.sleep(5)
        await self._log.close()

    # What happens.

    async def _step(self, number: int) -> None:
        random = self._random
        action = random.choices(_ACTIONS, _WEIGHTS)[0]
        await action(self, f"{number:4} {self._loop.now():%H:%M:%S.%f}")
        await asyncio.sleep(random.choice((0.0, 0.001, 0.1, 1.0, 5.0, 20.0)) * random.random())
        if number % 4 == 3:
            checks.check_states(self._log)
            checks.check_jobs(self._log)
            checks.check_attempts()

    def _tell(self, at: str, what: str) -> None:
        self.story.append(f"{at} {what}")

    async def _request(self, at: str) -> None:
        flow_id = self._random.choice([name for name in FLOWS if name not in STARTED_BY_TRIGGERS])
        for _ in range(self._random.choice((1, 1, 2, 5))):
            execution_id = derived_identifier("simulated", str(self.seed), str(len(self._requested)))
            self._requested.append(execution_id)
            self._tell(at, f"request {flow_id} {execution_id}")
            command = CreateExecution(at=self._loop.now(), namespace="test", flow_id=flow_id)
            self._send(execution_id, command, accepted=partial(self.accepted.append, execution_id))

    async def _ask(self, at: str) -> None:
        if not self._requested:
            return
        execution_id = self._random.choice(self._requested[-10:])
        now = self._loop.now()
        command = self._random.choice(
            (
                KillExecution(at=now),
                KillExecution(at=now, state=State.CANCELLED),
                PauseExecution(at=now),
                ResumeExecution(at=now),
            )
        )
        self._tell(at, f"{type(command).__name__} {execution_id}")
        self._send(execution_id, command)

    async def _go_on(self, at: str) -> None:
        """Restart an execution that is over, or replay it, as the webserver does it from the events."""
        over = [
            (name.removeprefix("main/"), events)
            for name, events in checks.histories(self._log).items()
            if checks.folded(events).is_closed
            and checks.folded(events).head.flow_id not in STARTED_BY_TRIGGERS
        ]
        if not over:
            return
        execution_id, events = self._random.choice(over[-10:])
        now = self._loop.now()
        past = Past(checks.folded(events), ExecutionView())
        runs = sorted(past.state.past)
        target = self._random.choice([None, None, *runs])
        plan = Plan(parse(self._sources[past.state.head.flow_id]), tenant="main", revision=1)
        try:
            steps = list(Reopening(past.state, plan, target).steps())
        except Lost:  # of a handler, which runs by itself
            return
        if self._random.random() < 0.3:
            self._replay(at, past, plan, target)
            return
        children = [step.run.child_id for step in steps if step.kind is Kind.AGAIN]
        resumes = [child for child in children if child is not None and child in dict(over)]
        becomes = self._random.choice([None, State.SUCCESS, State.FAILED]) if target is not None else None
        self._tell(at, f"restart {execution_id} from {target} as {becomes}")
        restart = RestartExecution(
            at=now,
            next_event=past.next_event,
            pieces=len(past.pieces),
            target=target,
            becomes=becomes,
            resumes=resumes,
        )
        self._send(execution_id, *past.commands(now), restart)

    def _replay(self, at: str, past: Past, plan: Plan, target: str | None) -> None:
        head = past.state.head
        execution_id = derived_identifier("simulated", str(self.seed), str(len(self._requested)))
        self._requested.append(execution_id)
        self._tell(at, f"replay {head.execution_id} from {target} as {execution_id}")
        now = self._loop.now()
        create = CreateExecution(
            at=now,
            namespace=head.namespace,
            flow_id=head.flow_id,
            flow_revision=1,
            reuses=target is not None,
            **replay_fields(head),
        )
        portions: list[ExecutionCommand] = []
        if target is not None:
            portions += reused_portions(past.state, plan, target, execution_id, at=now, documents={}, most=2)
        self._send(execution_id, create, *portions, accepted=partial(self.accepted.append, execution_id))

    async def _crash(self, at: str) -> None:
        server = self._random.choice(self._servers)
        if server.runs:
            self._tell(at, f"crash {server.name}")
            server.crash()
            self._loop.call_later(self._random.choice((0.0, 0.5, 10.0, 120.0)), server.start)

    async def _expel(self, at: str) -> None:
        server = self._random.choice(self._servers)
        self._tell(at, f"expel {server.name}")
        server.expel()

    async def _log_away(self, at: str) -> None:
        seconds = self._random.choice((0.2, 3.0, 20.0, 70.0))
        self._tell(at, f"log away for {seconds} s")
        self._faults.away_until = self._loop.time() + seconds

    async def _index_away(self, at: str) -> None:
        seconds = self._random.choice((1.0, 30.0, 300.0))
        self._tell(at, f"index away for {seconds} s")
        self._index.away = True
        self._loop.call_later(seconds, self._index_back)

    def _index_back(self) -> None:
        self._index.away = False

    async def _time(self, at: str) -> None:
        seconds = self._random.choice((10.0, 60.0, 200.0))
        self._tell(at, f"nothing for {seconds} s")
        await asyncio.sleep(seconds)

    async def _change(self, at: str) -> None:
        self._set_faults()
        faults = self._faults
        self._tell(
            at,
            f"slowness {faults.slowness_seconds} lost answers {faults.lost_answers}"
            f" repeats {faults.repeats} crashes {faults.crashes}",
        )

    def _set_faults(self) -> None:
        random, faults = self._random, self._faults
        faults.slowness_seconds = random.choice((0.0, 0.001, 0.02, 0.2))
        faults.lost_answers = random.choice((0.0, 0.0, 0.01))
        faults.repeats = random.choice((0.0, 0.1, 0.5))
        faults.crashes = random.choice((0.0, 0.0, 0.002))

    def _crash_in_call(self, name: str) -> None:
        server = next((server for server in self._servers if server.name == name), None)
        if server is not None and server.runs:
            self._tell("     ", f"crash {name} in a call")
            server.crash()
            self._loop.call_later(self._random.choice((0.1, 5.0, 90.0)), server.start)

    # The clients.

    def _send(
        self, execution_id: str, *commands: ExecutionCommand, accepted: Callable[[], None] = lambda: None
    ) -> None:
        key = str(ExecutionKey("main", execution_id))
        messages = [
            Message(topic="execution_commands", key=key, value=encode(command)) for command in commands
        ]
        task = self._loop.create_task(self._until_written(messages, accepted))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _until_written(self, messages: Sequence[Message], accepted: Callable[[], None]) -> None:
        """Ask again while the log is away, but not for ever: a late duplicate is remembered for two minutes only."""
        view = FaultyLog(self._log, self._faults, "client")
        for _ in range(45):
            try:
                await view.append(messages)
            except LogUnavailable:
                await asyncio.sleep(1)
            else:
                accepted()
                return

    async def _save_flows(self) -> None:
        catalog = Catalog(self._log, parse)
        await catalog.start()
        ids = iter(range(1_000))
        client = ResourceClient(
            self._log, catalog, instance="client", clock=self._loop.now, ids=lambda: f"request-{next(ids)}"
        )
        await client.start()
        for flow_id, source in self._sources.items():
            await client.save_flow("main", "test", flow_id, source)
        await client.close()
        await catalog.close()

    # The end.

    async def _heal(self) -> None:
        """Let everything be well, until all executions are over."""
        self._tell("     ", "everything is well again")
        faults = self._faults
        faults.away_until = faults.slowness_seconds = faults.lost_answers = faults.repeats = (
            faults.crashes
        ) = 0.0
        self._index_back()
        for server in self._servers:
            server.start()
        for _ in range(_ROUNDS):
            await asyncio.sleep(_HEALING.total_seconds() / _ROUNDS)
            self._check_servers()
            live = checks.check_states(self._log)
            held = [execution.id for execution in live.values() if execution.progress.state is State.PAUSED]
            for execution_id in held:
                self._send(execution_id, ResumeExecution(at=self._loop.now()))
            mine = [
                one for one in live.values() if one.head.flow_id != "scheduled"
            ]  # one of those is always there
            if not mine and not self._clients:
                break
        # Between two dates of the schedule, so that none is half done.
        second = self._loop.now().second
        await asyncio.sleep((30 - second) % 60 + 60)

    def _check_servers(self) -> None:
        for server in self._servers:
            if server.failure is not None:
                raise checks.Broken(
                    f"{server.name} ended by a defect: {server.failure!r}"
                ) from server.failure

    def _check_end(self) -> None:
        self._check_servers()
        checks.check_ends(self._log, self.accepted)
        checks.check_jobs(self._log)
        checks.check_attempts()
        checks.check_children(self._log)
        checks.check_limits(self._log, LIMITS)
        checks.check_flow_trigger(self._log, upstream="two", flow_id="follows")
        self.fired = checks.check_schedules(self._log, "scheduled", EVERY)
        if self.fired < (self._loop.time() - 120) // EVERY.total_seconds():
            raise checks.Broken(f"the schedule fired {self.fired} times in {self._loop.time():.0f} s")
        checks.check_index(self._log, self._index)

    # The loop.

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, name=name, context=context)
        owner = (context.get(SERVER, "") if context is not None else SERVER.get()) or ""
        for server in self._servers:
            if server.name == owner:
                server.tasks[task] = None
                task.add_done_callback(lambda done, tasks=server.tasks: tasks.pop(done, None))  # type: ignore[misc]  # a default is no parameter
        return task

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        task = context.get("task") or context.get("future")
        if error is None or isinstance(error, FlowtideError):
            return  # a server that was cut off
        for server in self._servers:
            if task in server.tasks or server.name in str(getattr(task, "get_name", str)()):
                server.noticed(error)


_Action = Callable[[Simulation, str], Coroutine[Any, Any, None]]
_CHOICES: Sequence[tuple[_Action, int]] = (
    (Simulation._request, 10),
    (Simulation._ask, 5),
    (Simulation._go_on, 3),
    (Simulation._crash, 5),
    (Simulation._expel, 2),
    (Simulation._log_away, 1),
    (Simulation._index_away, 1),
    (Simulation._time, 2),
    (Simulation._change, 2),
)
_ACTIONS = [action for action, _ in _CHOICES]
_WEIGHTS = [weight for _, weight in _CHOICES]
