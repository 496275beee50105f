"""One partition of triggers with a clock that tests move; it is restarted from its committed state at will."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from flowtide.errors import ExpressionError
from flowtide.log.keys import TriggerKey
from flowtide.log.port import Message, Record
from flowtide.model.commands import COMMAND_DECODER, CreateExecution
from flowtide.model.conditions.dates import DayWeek
from flowtide.model.entries import LOG_DECODER, LogEntry
from flowtide.model.jobs import CONTROL_DECODER, JOB_DECODER, EvaluateTrigger, ListenTrigger, StopTrigger
from flowtide.model.plugin import Registry
from flowtide.model.records import encode
from flowtide.model.resources import REPLY_DECODER, ResourceReply
from flowtide.model.trigger import PollingTrigger, RealtimeTrigger
from flowtide.model.trigger_records import TRIGGER_STATE_DECODER, DefineTrigger, TriggerCommand, TriggerState
from flowtide.model.triggers.schedule import Schedule
from flowtide.model.triggers.schedule_on_dates import ScheduleOnDates
from flowtide.processors.triggers import TriggersPartition

SCHEDULE = "io.kestra.plugin.core.trigger.Schedule"
ON_DATES = "io.kestra.plugin.core.trigger.ScheduleOnDates"
KEY = TriggerKey("main", "company.team", "myflow", "watch")
START = datetime(2025, 1, 1, 12, 0, 30, tzinfo=UTC)  # a Wednesday


class Poll(PollingTrigger):
    """A polling trigger; nobody evaluates it here."""


class Listen(RealtimeTrigger):
    """A realtime trigger; nobody listens here."""


REGISTRY = Registry(
    {
        ("trigger", SCHEDULE): Schedule,
        ("trigger", ON_DATES): ScheduleOnDates,
        ("trigger", "Poll"): Poll,
        ("trigger", "Listen"): Listen,
        ("condition", "DayWeek"): DayWeek,
    }
)


def render(template: Any, variables: Mapping[str, Any]) -> Any:
    """A template language of one variable."""
    if isinstance(template, dict):
        return {name: render(value, variables) for name, value in template.items()}
    if template == "{{ broken }}":
        raise ExpressionError("there is no `broken`")
    return variables["trigger"]["date"] if template == "{{ trigger.date }}" else template


class TriggerBench:
    """Everything is committed after each step."""

    def __init__(self) -> None:
        self.now = START
        self.state: dict[str, bytes] = {}
        self.messages: list[Message] = []
        self.dead: set[str] = set()
        self._requests = 0
        self.restart()

    def restart(self) -> None:
        """As after a crash, or on another scheduler: only what was committed is left."""
        self.partition = TriggersPartition(
            0,
            self.state,
            registry=REGISTRY,
            render=render,
            message_limit_bytes=10_000,
            job_partitions=3,
            reply_partitions=2,
            dead_workers=self.dead,
        )

    def tell(self, command: TriggerCommand, key: TriggerKey = KEY) -> None:
        """Carry out a command."""
        self._handle(command, key, {})

    def ask(self, verb: Any, key: TriggerKey = KEY) -> ResourceReply:
        """Have it do what a person asks; gives the answer."""
        self._requests += 1
        name = f"request-{self._requests}"
        self._handle(msgspec.structs.replace(verb, request_id=name), key, {"reply-to": "1"})
        (answer,) = [
            reply
            for message in self.messages
            if message.topic == "replies"
            and (reply := REPLY_DECODER.decode(message.value or b"")).request_id == name
        ]
        return answer

    def _handle(self, command: TriggerCommand, key: TriggerKey, headers: dict[str, str]) -> None:
        record = Record(
            topic="trigger_commands",
            partition=0,
            offset=0,
            key=str(key),
            value=encode(command),
            timestamp_ms=0,
            headers=headers,
        )
        self.partition.handle(record, self.now, certain=True)
        self.commit()

    def define(
        self, type_name: str, revision: int = 1, *, disabled: bool = False, key: TriggerKey = KEY, **more: Any
    ) -> None:
        """Save the flow with this trigger."""
        raw = msgspec.Raw(encode({"id": key.trigger_id, "type": type_name, **more}))
        self.tell(DefineTrigger(at=self.now, flow_revision=revision, trigger=raw, disabled=disabled), key)

    def tick(self, after: timedelta = timedelta(0)) -> None:
        """Some time passes; then the runtime looks at the timers once."""
        self.now += after
        due = self.partition.next_due()
        if due is not None and due <= self.now:
            self.partition.fire(self.now, 500)
        self.commit()

    def commit(self) -> None:
        """Write what came of the last step."""
        messages, changes = self.partition.flush()
        self.messages += messages
        for change in changes:
            if change.value is None:
                self.state.pop(change.key, None)
            else:
                self.state[change.key] = change.value

    def creations(self) -> list[tuple[str, CreateExecution]]:
        """The executions so far, with their ids."""
        found = []
        for message in self.messages:
            if message.topic == "execution_commands":
                command = COMMAND_DECODER.decode(message.value or b"")
                assert isinstance(command, CreateExecution)
                found.append((message.key.partition("/")[2], command))
        return found

    def jobs(self) -> list[EvaluateTrigger | ListenTrigger]:
        """The jobs so far."""
        found = []
        for message in self.messages:
            if message.topic.startswith("worker_jobs"):
                job = JOB_DECODER.decode(message.value or b"")
                assert isinstance(job, EvaluateTrigger | ListenTrigger)
                found.append(job)
        return found

    def stops(self) -> list[str]:
        """The ids of the jobs that workers were told to end."""
        found = []
        for message in self.messages:
            if message.topic == "worker_controls":
                control = CONTROL_DECODER.decode(message.value or b"")
                assert isinstance(control, StopTrigger)
                found.append(control.job_id)
        return found

    def lines(self) -> list[LogEntry]:
        """The log lines so far."""
        return [LOG_DECODER.decode(m.value or b"") for m in self.messages if m.topic == "logs"]

    def told(self) -> TriggerState:
        """The trigger as it was told last."""
        events = [m for m in self.messages if m.topic == "trigger_events"]
        return TRIGGER_STATE_DECODER.decode(events[-1].value or b"")
