"""Saving and deleting: revisions, conflicts, answers, and what follows for triggers and slots."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from flowtide.errors import FlowInvalid
from flowtide.log.port import Message, Record
from flowtide.model.flow import Flow
from flowtide.model.flow_commands import FLOW_COMMAND_DECODER, ReviewSlots
from flowtide.model.plugin import Registry
from flowtide.model.records import encode
from flowtide.model.resources import (
    FLOW_BODY_DECODER,
    REPLY_DECODER,
    RESOURCE_DECODER,
    DeleteResource,
    FlowBody,
    Resource,
    ResourceCommand,
    ResourceReply,
    SaveResource,
)
from flowtide.model.source import parse_flow
from flowtide.model.task import RunnableTask
from flowtide.model.trigger_records import TRIGGER_COMMAND_DECODER, DefineTrigger, RemoveTrigger
from flowtide.model.triggers.schedule import Schedule
from flowtide.model.triggers.webhook import Webhook
from flowtide.processors.resources import ResourcesPartition
from flowtide.processors.runtime import BadRecord

NOW = datetime(2025, 1, 1, tzinfo=UTC)
FLOW = "main/flow/company.team/hello"
REGISTRY = Registry(
    {("task", "Say"): RunnableTask, ("trigger", "Schedule"): Schedule, ("trigger", "Webhook"): Webhook}
)


def source(*triggers: str, extra: str = "") -> str:
    """A flow with triggers, one YAML mapping each."""
    lines = ["id: hello", "namespace: company.team", "tasks:", "  - {id: a, type: Say}", extra]
    if triggers:
        lines += ["triggers:", *(f"  - {trigger}" for trigger in triggers)]
    return "\n".join(lines) + "\n"


def hourly(name: str, *, more: str = "") -> str:
    return f"{{id: {name}, type: Schedule, cron: '@hourly'{more}}}"


def parse(text: str, tenant: str = "main") -> Flow | None:
    return parse_flow(text, REGISTRY).valid()


class Bench:
    """One partition, committed after each command."""

    def __init__(self) -> None:
        self.now = NOW
        self.state: dict[str, bytes] = {}
        self.requests = 0
        self.messages: list[Message] = []
        self.partition = ResourcesPartition(0, self.state, parse=parse, reply_partitions=4)

    def restart(self) -> None:
        self.partition = ResourcesPartition(0, self.state, parse=parse, reply_partitions=4)

    def tell(
        self, command: ResourceCommand, key: str = FLOW, headers: dict[str, str] | None = None
    ) -> ResourceReply:
        """The answer; everything else that was written is in `messages`."""
        self.now += timedelta(seconds=1)
        record = Record(
            topic="resource_commands",
            partition=0,
            offset=0,
            key=key,
            value=encode(command),
            timestamp_ms=0,
            headers={"reply-to": "3"} if headers is None else headers,
        )
        self.partition.handle(record, self.now, certain=True)
        messages, changes = self.partition.flush()
        for change in changes:
            assert change.value is not None
            self.state[change.key] = change.value
        self.messages = [message for message in messages if message.topic != "replies"]
        (reply,) = [message for message in messages if message.topic == "replies"]
        assert reply.partition == 3
        return REPLY_DECODER.decode(reply.value or b"")

    def save(self, text: str, expected: int | None = None) -> ResourceReply:
        self.requests += 1
        body = msgspec.Raw(encode(FlowBody(source=text)))
        return self.tell(
            SaveResource(
                request_id=str(self.requests), at=NOW, body=body, expected_revision=expected, by="jane"
            )
        )

    def delete(self, expected: int | None = None) -> ResourceReply:
        self.requests += 1
        return self.tell(DeleteResource(request_id=str(self.requests), at=NOW, expected_revision=expected))

    def saved(self) -> dict[str, Resource]:
        """What the last command wrote to the topic of saved things."""
        found = [message for message in self.messages if message.topic == "resources"]
        return {message.key: RESOURCE_DECODER.decode(message.value or b"") for message in found}

    def triggers(self) -> dict[str, Any]:
        """What the last command told triggers."""
        found = [message for message in self.messages if message.topic == "trigger_commands"]
        return {message.key: TRIGGER_COMMAND_DECODER.decode(message.value or b"") for message in found}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def revision(reply: ResourceReply) -> int:
    assert reply.conflict is None
    assert reply.resource is not None
    return reply.resource.revision


def test_revisions_count_and_each_is_kept(bench: Bench) -> None:
    """A save writes the thing as it is now and the revision; the answer has it too."""
    text = source()
    assert revision(bench.save(text)) == 1
    changed = text + "# a remark\n"
    reply = bench.save(changed, expected=1)
    assert revision(reply) == 2
    assert sorted(bench.saved()) == ["main/flow-revision/company.team/hello/2", FLOW]
    for resource in bench.saved().values():
        assert (resource.revision, resource.by, resource.updated) == (2, "jane", bench.now)
        assert FLOW_BODY_DECODER.decode(resource.body).source == changed
    assert reply.key == FLOW


def test_the_same_source_byte_for_byte_changes_nothing(bench: Bench) -> None:
    """It keeps its revision and nothing is written but the answer."""
    bench.save(source())
    reply = bench.save(source())
    assert revision(reply) == 1
    assert bench.messages == []
    assert revision(bench.save(source() + "\n")) == 2


@pytest.mark.parametrize(
    ("history", "expected", "conflict"),
    [
        (["one"], 0, "flow company.team/hello exists already"),
        (["one", "two"], 1, "flow company.team/hello is at revision 2, revision 1 was expected"),
        ([], 1, "flow company.team/hello does not exist, revision 1 was expected"),
        (["one", None], 1, "flow company.team/hello does not exist, revision 1 was expected"),
    ],
)
def test_a_save_that_expects_something_else_is_refused(
    bench: Bench, history: list[str | None], expected: int, conflict: str
) -> None:
    """The answer says what is there instead, and nothing is written."""
    for remark in history:
        _ = bench.delete() if remark is None else bench.save(source(extra=f"# {remark}"))
    reply = bench.save(source(extra="# mine"), expected=expected)
    assert (reply.conflict, reply.resource) == (conflict, None)
    assert bench.messages == []


def test_the_counter_goes_on_after_a_deletion(bench: Bench) -> None:
    """What was deleted and saved again is a new revision, also with the same source and after a restart."""
    bench.save(source())
    reply = bench.delete(expected=1)
    assert reply.resource is not None
    assert (reply.resource.deleted, reply.resource.revision) == (True, 1)
    assert list(bench.saved()) == [FLOW]
    bench.restart()
    assert revision(bench.save(source(), expected=0)) == 2


def test_what_does_not_exist_cannot_be_deleted(bench: Bench) -> None:
    """Neither never saved nor deleted before."""
    assert bench.delete().conflict == "flow company.team/hello does not exist"
    bench.save(source())
    bench.delete()
    assert bench.delete().conflict == "flow company.team/hello does not exist"


def test_a_command_that_comes_twice_is_answered_twice_and_carried_out_once(bench: Bench) -> None:
    """Also when its second coming would be a conflict."""
    body = msgspec.Raw(encode(FlowBody(source=source())))
    command = SaveResource(request_id="x", at=NOW, body=body, expected_revision=0)
    first = bench.tell(command)
    second = bench.tell(command)
    assert first == second
    assert bench.messages == []


def test_schedules_are_defined_and_removed_with_the_flow(bench: Bench) -> None:
    """Each save tells the schedules of the new revision and removes those that are gone; others are
    not told.
    """
    bench.save(
        source(hourly("one"), hourly("two", more=", inputs: {n: 1}"), "{id: hook, type: Webhook, key: abc}")
    )
    told = bench.triggers()
    assert sorted(told) == ["main/company.team/hello/one", "main/company.team/hello/two"]
    two = told["main/company.team/hello/two"]
    assert isinstance(two, DefineTrigger)
    assert (two.flow_revision, two.disabled) == (1, False)
    expected = {"id": "two", "type": "Schedule", "cron": "@hourly", "inputs": {"n": 1}}
    assert msgspec.json.decode(two.trigger) == expected
    bench.save(source(hourly("two")))
    told = bench.triggers()
    assert told["main/company.team/hello/one"] == RemoveTrigger(at=bench.now, flow_revision=2)
    assert isinstance(told["main/company.team/hello/two"], DefineTrigger)
    bench.delete()
    assert bench.triggers() == {"main/company.team/hello/two": RemoveTrigger(at=bench.now, flow_revision=2)}


def test_a_schedule_is_told_with_its_labels_and_states(bench: Bench) -> None:
    """TRG-01: all that a schedule may say travels; labels as a list, whichever way they were written."""
    bench.save(source(hourly("one", more=", labels: {team: core}, stopAfter: [FAILED]")))
    [told] = bench.triggers().values()
    assert isinstance(told, DefineTrigger)
    written = msgspec.json.decode(told.trigger)
    assert (written["labels"], written["stopAfter"]) == ([{"key": "team", "value": "core"}], ["FAILED"])


def test_a_disabled_flow_disables_its_schedules_and_a_disabled_schedule_itself(bench: Bench) -> None:
    """TRG-12."""
    bench.save(source(hourly("one", more=", disabled: true"), hourly("two")))
    assert [each.disabled for each in bench.triggers().values()] == [True, False]
    bench.save(source(hourly("one"), hourly("two"), extra="disabled: true"))
    assert [each.disabled for each in bench.triggers().values()] == [True, True]


def test_a_changed_flow_has_its_slots_reviewed(bench: Bench) -> None:
    """Its limit may be another one, or gone; a new flow has no executions to review."""
    bench.save(source())
    assert not any(message.topic == "flow_commands" for message in bench.messages)
    steps: list[Callable[[], object]] = [
        lambda: bench.save(source(extra="concurrency: {limit: 1}")),
        bench.delete,
    ]
    for step in steps:
        step()
        (review,) = [message for message in bench.messages if message.topic == "flow_commands"]
        assert review.key == "main/company.team/hello"
        assert FLOW_COMMAND_DECODER.decode(review.value or b"") == ReviewSlots(at=bench.now)


def test_a_flow_that_cannot_be_read_is_kept_without_triggers(bench: Bench) -> None:
    """The API refuses those; what another version wrote is not lost, and its old triggers end."""
    bench.save(source(hourly("one")))
    with pytest.raises(FlowInvalid):
        parse("id: [")
    assert revision(bench.save("id: [")) == 2
    assert [type(each) for each in bench.triggers().values()] == [RemoveTrigger]


def test_a_source_of_another_flow_is_refused(bench: Bench) -> None:
    """A flow cannot be saved under the name of another one."""
    reply = bench.save(source().replace("id: hello", "id: other"))
    assert (
        reply.conflict == "the source is of flow company.team/other, it cannot be saved as company.team/hello"
    )
    assert bench.messages == []


def test_other_kinds_are_saved_as_they_are(bench: Bench) -> None:
    """A setting counts its revisions, also when its body is the same, and has no followers."""
    command = SaveResource(request_id="1", at=NOW, body=msgspec.Raw(b'{"a":1}'))
    assert revision(bench.tell(command, "main/setting/theme/dark")) == 1
    again = msgspec.structs.replace(command, request_id="2")
    assert revision(bench.tell(again, "main/setting/theme/dark")) == 2
    assert [message.topic for message in bench.messages] == ["resources"]


@pytest.mark.parametrize(
    ("key", "value", "reply_to", "reason"),
    [
        (FLOW, b"\xff", "0", "not a command"),
        ("main/flow", b"{}", "0", "not a resource's key"),
        ("main/flow/hello", encode(DeleteResource(request_id="1", at=NOW)), "0", "does not name a flow"),
        ("main/spaceship/x", encode(DeleteResource(request_id="1", at=NOW)), "0", "spaceship"),
        (
            "main/flow-revision/a/b/1",
            encode(SaveResource(request_id="1", at=NOW, body=msgspec.Raw(b"{}"))),
            "0",
            "with their flow",
        ),
        (
            "main/flow-revision/a/b/x",
            encode(DeleteResource(request_id="1", at=NOW)),
            "0",
            "a revision of a flow",
        ),
        (
            FLOW,
            encode(SaveResource(request_id="1", at=NOW, body=msgspec.Raw(b"[]"))),
            "0",
            "not that of a flow",
        ),
        (FLOW, encode(DeleteResource(request_id="1", at=NOW)), "99", "reply-to"),
        (FLOW, encode(DeleteResource(request_id="1", at=NOW)), "-1", "reply-to"),
        (FLOW, encode(DeleteResource(request_id="1", at=NOW)), "three", "reply-to"),
    ],
)
def test_garbage_is_refused(bench: Bench, key: str, value: bytes, reply_to: str, reason: str) -> None:
    """The dead letters say what is wrong with it."""
    record = Record(
        topic="resource_commands",
        partition=0,
        offset=0,
        key=key,
        value=value,
        timestamp_ms=0,
        headers={"reply-to": reply_to},
    )
    with pytest.raises(BadRecord, match=reason):
        bench.partition.handle(record, NOW, certain=True)


async def test_whoever_sent_what_cannot_be_carried_out_is_answered() -> None:
    """A command that goes to the dead letters is answered with the reason, or its sender would wait in vain."""
    partition = ResourcesPartition(0, {}, parse=lambda *_: None, reply_partitions=4)
    command = SaveResource(request_id="r1", at=datetime(2026, 1, 1, tzinfo=UTC), body=msgspec.Raw(b"{}"))
    record = Record(
        topic="resource_commands",
        partition=0,
        offset=7,
        key="main/flow/company/hello",
        value=encode(command),
        timestamp_ms=0,
        headers={"reply-to": "3"},
    )
    (answer,) = partition.refused(record, "a defect")
    assert (answer.topic, answer.partition) == ("replies", 3)
    reply = REPLY_DECODER.decode(answer.value or b"")
    assert reply.request_id == "r1"
    assert "a defect" in (reply.conflict or "")
