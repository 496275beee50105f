"""The notation of scenarios: a YAML list; each entry has a claim, flows, what workers do, steps and what is expected.

```yaml
- claim: ERR-04 Without handlers the first failure stops the execution.
  flow: |                       # or `flows:`, a list; `id: flow` and `namespace: test` are added when missing
    tasks:
      - {id: first, type: Say, message: hello}
  start: {inputs: {}, labels: {}, at: 2026-01-02T00:00:00Z, flow: flow}
  workers:                      # task, or task[value]: the end of its attempts in turn; the last is repeated
    first: [FAILED, {state: SUCCESS, outputs: {value: 1}}, stay]
    directory: {outputs: {}}    # how it is opened when that fails, else, or with `closing: true`, how it is closed
  answers: {condition: true}    # of workers to expressions with input or output; `stay` or {error: text} for all
  steps:
    - advance: PT1M
    - expect: {state: RUNNING}
  expect:
    state: FAILED               # also of `child`, by `executions: {child: {...}}`; a list when there are several
    runs: [first FAILED]        # every task run, `task[value] STATE`, in the order of creation
    outputs: {final: 1}         # of the flow, when it has some
    said: {first: hello}        # outputs `value` of task runs
    events: [ExecutionCreated, ..., ExecutionEnded]   # `...` stands for any number of events
    log: [a part of a line]
    no log: [a part of a line]
    labels: {key: value}
    sent: [ReleaseSlot]         # what left for flows and triggers
    in directories: [one]       # tasks whose jobs went to the worker that holds their directory, in this order
    closed directories: 1       # how many were closed and kept something; `open directories`: are still held
    killed: [first]             # tasks whose workers were told to stop; `all`: those of the whole execution
```

`start` also takes `breakpoints: "first, loop.b"` and `groups: [gpu]`, the worker groups that have workers;
`expect` also takes `vars`, the execution's variables, and `routed`, the pairs of task and worker group of every job.

Steps: `advance`, `kill`, `pause`, `resume`, `slot` (the answer of the flow's limit), `report` (the end of an attempt
that stays), `evaluated` (answers that stayed), `lose worker` (resubmit or fail), `save` (a further revision),
`groups` (those that have workers now), `go on` (from breakpoints, with others or null), `again` (every command of a
type is sent a second time), `send` (a command with the fields given), `restart` (what failed; with `task` only that
one, with `to` it is given that state; `revision`), `replay` (from the start, or from `task`; with `inputs`,
`revision`; its execution is looked at from then on), `expect`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from flowtide.engine.outgoing import ToFlow, ToTrigger
from flowtide.errors import ExpressionError
from flowtide.model import commands
from flowtide.model.breakpoints import read_breakpoints
from flowtide.model.durations import parse_duration
from flowtide.model.jobs import CloseDirectory, Evaluate, RunInDirectory, RunTask
from flowtide.model.records import Label
from flowtide.model.states import State
from flowtide.testing.flows import FlowWorld, Outcome
from tests.language import REGISTRY, said


def load(path: Path) -> list[dict[str, Any]]:
    """The scenarios of a file."""
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, list), f"{path.name} is not a list of scenarios"
    return found


class Play:
    """One scenario on its way."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        unknown = scenario.keys() - {
            "claim",
            "flow",
            "flows",
            "start",
            "workers",
            "answers",
            "steps",
            "expect",
        }
        assert not unknown, f"a scenario has no {sorted(unknown)}"
        self._scenario = scenario
        self._workers: dict[str, Any] = scenario.get("workers", {})
        self._answers: Any = scenario.get("answers", {})
        sources = scenario["flows"] if "flows" in scenario else [scenario["flow"]]
        self.world = FlowWorld(
            [_whole(source) for source in sources], REGISTRY, work=self._work, evaluate=self._evaluate
        )
        self._lookup: dict[str, str] = {}  # run id -> `task[value]`

    def run(self) -> None:
        """Play it.  Raises AssertionError."""
        start = dict(self._scenario.get("start", {}))
        labels = [Label(key=key, value=value) for key, value in start.pop("labels", {}).items()]
        date = start.pop("at", None)
        self.world.groups = set(start.pop("groups", ()))
        if "breakpoints" in start:
            start["breakpoints"] = read_breakpoints(start["breakpoints"])
        self.main = self.world.start(
            start.pop("flow", None),
            labels=labels,
            schedule_date=_date(date) if date is not None else None,
            **start,
        )
        self.world.run()
        for step in self._scenario.get("steps", ()):
            ((name, argument),) = step.items()
            _STEPS[name](self, argument)
            self.world.run()
        self.check(self._scenario.get("expect", {}))

    # Workers.

    def _work(self, job: RunTask) -> Outcome | None:
        self._lookup[job.run_id] = job.task_id
        answer = self._workers.get(f"{job.task_id}[{job.value}]", self._workers.get(job.task_id, "SUCCESS"))
        if isinstance(answer, list):
            answer = answer[min(job.attempt, len(answer) - 1)]
        return None if answer == "stay" else _outcome(answer, job)

    def _evaluate(self, job: Evaluate) -> dict[str, Any] | None:
        if self._answers == "stay":
            return None
        if "error" in self._answers:
            raise ExpressionError(self._answers["error"])
        return {name: self._answers[name] for name in job.expressions}

    # Steps.

    def advance(self, duration: str) -> None:
        self.world.advance(parse_duration(duration))

    def send(self, command_type: type[commands.ExecutionCommand], fields: dict[str, Any] | None) -> None:
        fields = {**(fields or {})}
        if "task" in fields:
            fields["run_id"] = self._run_of(fields.pop("task"))
        if "state" in fields:
            fields["state"] = State(fields["state"])
        if "labels" in fields:
            fields["labels"] = msgspec.convert(fields["labels"], list[Label])
        if "to" in fields:
            fields["to"] = State(fields["to"])
        self.world.send(self.main, command_type(at=self.world.now, **fields))

    def send_any(self, fields: dict[str, Any]) -> None:
        fields = dict(fields)
        self.send(getattr(commands, fields.pop("command")), fields)

    def report(self, ends: dict[str, Any]) -> None:
        for task, answer in ends.items():
            execution_id, run_id = next(
                key for key, job in self.world.running.items() if _name(job.task_id, job.value) == task
            )
            job = self.world.running[execution_id, run_id]
            self.world.report(execution_id, run_id, _outcome(answer, job))

    def evaluated(self, answers: dict[str, Any]) -> None:
        for job in self.world.evaluating:
            error = answers.get("error")
            values = {} if error else {name: answers[name] for name in job.expressions}
            self.world.send(
                job.execution_id,
                commands.ReportEvaluation(at=self.world.now, run_id=job.run_id, values=values, error=error),
            )
        self.world.evaluating.clear()

    def restart(self, fields: dict[str, Any] | None) -> None:
        fields = fields or {}
        self.world.restart(
            self.main,
            flow_revision=fields.get("revision"),
            target=self._past_run(fields["task"]) if "task" in fields else None,
            becomes=State(fields["to"]) if "to" in fields else None,
        )

    def replay(self, fields: dict[str, Any] | None) -> None:
        fields = dict(fields or {})
        task = fields.pop("task", None)
        run_id = self._past_run(task) if task is not None else None
        if "revision" in fields:
            fields["flow_revision"] = fields.pop("revision")
        self.main = self.world.replay(self.main, run_id, **fields)

    def _past_run(self, task: str) -> str:
        """The task run of that name that was created last, over or not."""
        found = [
            run_id
            for event in self.world.events[self.main]
            if type(event).__name__ in ("TaskRunCreated", "TaskRunReused")
            and (run_id := getattr(event, "run_id", ""))
            and _name(getattr(event, "task_id", ""), getattr(event, "value", None)) == task
        ]
        assert found, f"no task run of {task}"
        return found[-1]

    def groups(self, groups: list[str]) -> None:
        self.world.groups = set(groups)

    def breakpoint(self, text: str | None) -> None:
        found = None if text is None else read_breakpoints(text)
        command = commands.ResumeFromBreakpoint(at=self.world.now, breakpoints=found)
        self.world.send(self.main, command)

    def lose_worker(self, what: str) -> None:
        self.world.lose_worker(resubmit=what == "resubmit")

    def save(self, source: str) -> None:
        self.world.save(_whole(source), REGISTRY)

    def again(self, command_type: str) -> None:
        for execution_id, command in list(self.world.decided):
            if type(command).__name__ == command_type:
                self.world.send(execution_id, command)

    # Looking.

    def check(self, expected: dict[str, Any]) -> None:
        """Compare with what a scenario expects."""
        for flow_id, of_flow in dict(expected.get("executions", {})).items():
            found = [
                execution_id
                for execution_id, execution in self.world.executions.items()
                if execution.head.flow_id == flow_id
            ]
            each = of_flow if isinstance(of_flow, list) else [of_flow]
            assert len(found) == len(each), f"{len(found)} executions of {flow_id}"
            for execution_id, one in zip(found, each, strict=True):
                self._check_one(execution_id, one)
        messages = self.world.messages()
        for part in expected.get("log", ()):
            assert any(part in message for message in messages), f"no line says {part!r}: {messages}"
        for part in expected.get("no log", ()):
            assert not any(part in message for message in messages), f"a line says {part!r}: {messages}"
        if "sent" in expected:
            sent = [
                type(each.command).__name__
                for each in self.world.sent
                if isinstance(each, ToFlow | ToTrigger)
            ]
            assert sent == expected["sent"]
        if "killed" in expected:
            told = [self._lookup.get(kill.run_id, "?") if kill.run_id else "all" for kill in self.world.kills]
            assert told == expected["killed"]
        self._check_directories(expected)
        known = {"executions", "log", "no log", "sent", "killed", *_OF_DIRECTORIES}
        self._check_one(self.main, {key: value for key, value in expected.items() if key not in known})

    def _check_directories(self, expected: dict[str, Any]) -> None:
        controls = self.world.controlled
        found = {
            "in directories": [each.job.task_id for each in controls if isinstance(each, RunInDirectory)],
            "closed directories": sum(
                isinstance(each, CloseDirectory) and not each.discard for each in controls
            ),
            "open directories": len(self.world.directories),
        }
        for key in _OF_DIRECTORIES & expected.keys():
            assert found[key] == expected[key], f"{key}: {found[key]}"

    def _check_one(self, execution_id: str, expected: dict[str, Any]) -> None:
        world = self.world
        execution = world.executions[execution_id]
        errors = [error for event in world.events[execution_id] if (error := getattr(event, "error", None))]
        shown = [*world.runs(execution_id)]
        why = f"{shown} {errors} {world.messages()}"
        for key, value in expected.items():
            if key == "state":
                found = world.state(execution_id).value
                assert found == value, f"the state is {found}, not {value}; {why}"
            elif key == "runs":
                assert shown == value, f"the task runs are {shown}; {why}"
            elif key == "outputs":
                found_outputs = world.outputs(execution_id)
                assert found_outputs == value, f"the outputs are {found_outputs}; {why}"
            elif key == "said":
                tree = msgspec.to_builtins(execution.outputs)
                said_ = {name: _said(tree, name) for name in value}
                assert said_ == value, f"said was {said_}; {why}"
            elif key == "task outputs":
                tree = msgspec.to_builtins(execution.outputs)
                for name, part in value.items():
                    assert {field: tree[name].get(field) for field in part} == part
            elif key == "events":
                names = [type(event).__name__ for event in world.events[execution_id]]
                assert _like(names, value), f"the events are {names}"
            elif key == "labels":
                assert {label.key: label.value for label in execution.head.labels} == value
            elif key == "closed":
                assert execution.is_closed is value
            elif key == "attempts":
                tries = {run.task_id: run.attempt for run in execution.runs.values()}
                assert {name: tries.get(name) for name in value} == value
            elif key == "inputs":
                assert execution.head.inputs == value
            elif key == "error":
                assert value in (execution.progress.error or ""), execution.progress.error
            elif key == "vars":
                assert execution.head.variables == value, execution.head.variables
            elif key == "routed":
                assert world.routed == [tuple(each) for each in value], world.routed
            elif key == "revision":
                assert execution.head.flow_revision == value
            else:
                raise AssertionError(f"a scenario cannot expect {key!r}")

    def _run_of(self, task: str) -> str:
        execution = self.world.executions[self.main]
        return next(run.run_id for run in execution.runs.values() if _name(run.task_id, run.value) == task)


_OF_DIRECTORIES = {"in directories", "closed directories", "open directories"}

_STEPS: dict[str, Any] = {
    "advance": Play.advance,
    "kill": lambda play, fields: play.send(commands.KillExecution, fields),
    "pause": lambda play, fields: play.send(commands.PauseExecution, fields),
    "resume": lambda play, fields: play.send(commands.ResumeExecution, fields),
    "slot": lambda play, state: play.send(commands.AnswerSlot, {"state": state}),
    "send": Play.send_any,
    "report": Play.report,
    "evaluated": Play.evaluated,
    "groups": Play.groups,
    "go on": Play.breakpoint,
    "lose worker": Play.lose_worker,
    "save": Play.save,
    "again": Play.again,
    "restart": Play.restart,
    "replay": Play.replay,
    "expect": Play.check,
}


def _outcome(answer: Any, job: RunTask) -> Outcome:
    if isinstance(answer, str):
        answer = {"state": answer}
    state = State(answer.get("state", "SUCCESS"))
    outputs = answer.get("outputs")
    error = answer.get("error")
    if outputs is None and state in (State.SUCCESS, State.WARNING):
        try:
            outputs = said(job)
        except ExpressionError as failure:
            return Outcome(state=State.FAILED, error=str(failure))
    return Outcome(state=state, outputs=outputs or {}, error=error, closing=answer.get("closing", False))


def _name(task_id: str, value: str | None) -> str:
    return task_id if value is None else f"{task_id}[{value}]"


def _said(tree: dict[str, Any], name: str) -> Any:
    """The output `value` of `task` or `task[value][value]`."""
    task, *values = name.replace("]", "").split("[")
    node = tree.get(task)
    for value in values:
        node = node.get(value) if isinstance(node, dict) else None
    return node.get("value") if isinstance(node, dict) else None


def _like(found: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not found
    if pattern[0] == "...":
        return any(_like(found[skipped:], pattern[1:]) for skipped in range(len(found) + 1))
    return bool(found) and found[0] == pattern[0] and _like(found[1:], pattern[1:])


def _whole(source: str) -> str:
    """A flow with the lines that scenarios leave out."""
    lines = source.splitlines()
    if not any(line.startswith("namespace:") for line in lines):
        source = f"namespace: test\n{source}"
    if not any(line.startswith("id:") for line in lines):
        source = f"id: flow\n{source}"
    return source


def _date(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return datetime.fromisoformat(str(value))
