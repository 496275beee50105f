"""The catalog of saved things, and the client that saves them, on a log in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta

import msgspec
import pytest
from structlog.testing import capture_logs

from flowtide.errors import FlowInvalid, LogUnavailable, ReplyMissing, ResourceConflict
from flowtide.log.embedded.log import EmbeddedReader
from flowtide.log.keys import FlowKey, ResourceKey
from flowtide.log.port import Message, Record, StartAt
from flowtide.model.records import encode
from flowtide.model.resources import FlowBody, Resource, ResourceKind, ResourceReply
from flowtide.processors.slots import FlowLimit, OverLimit
from flowtide.services import saving
from flowtide.services.catalog import Catalog
from flowtide.services.saving import ResourceClient
from tests.unit.services.saved import START, House, open_house, source

FLOW = ResourceKind.FLOW


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as house:
        yield house


def saved(text: str, revision: int = 1, *, deleted: bool = False, seconds: int = 0) -> Resource:
    body = b"null" if deleted else encode(FlowBody(source=text))
    return Resource(
        revision=revision,
        updated=START + timedelta(seconds=seconds),
        body=msgspec.Raw(body),
        deleted=deleted,
    )


async def write(house: House, kind: ResourceKind, identifier: str, resource: Resource | None) -> None:
    key = str(ResourceKey("main", kind, identifier))
    value = None if resource is None else encode(resource)
    await house.log.append([Message(topic="resources", key=key, value=value)])


async def test_ones_own_write_is_seen_at_once(house: House) -> None:
    """When `save_flow` returns, the catalog has the new revision, and the reply tells it."""
    house.run_resources()
    text = source()
    resource = await house.client.save_flow("main", "company.team", "hello", text, 0, by="jane")
    assert (resource.revision, resource.by) == (1, "jane")
    found = house.catalog.flow("main", "company.team", "hello")
    assert found is not None
    assert (found.source, found.revision, found.deleted, found.by) == (text, 1, False, "jane")
    assert found.flow.id == "hello"


async def test_others_see_it_when_they_have_caught_up(house: House) -> None:
    """A catalog of another server has everything that was committed before it was asked to catch up."""
    other = Catalog(house.log, house.parse)
    await other.start()
    house.run_resources()
    for number in range(20):
        await house.client.save_flow("main", "company.team", f"flow{number}", source(f"flow{number}"))
        await other.catch_up()
        assert other.flow("main", "company.team", f"flow{number}") is not None
    await other.close()
    await house.client.save_flow("main", "a", "b", source("b", "a"))
    with pytest.raises(LogUnavailable):
        await other.catch_up()


async def test_a_catalog_that_starts_late_has_read_everything(house: House) -> None:
    """`start` returns at the end of the topic."""
    house.run_resources()
    await house.client.save_flow("main", "company.team", "hello", source())
    late = Catalog(house.log, house.parse)
    await late.start()
    assert late.flow("main", "company.team", "hello") is not None
    assert late.tenants() == {"main"}
    await late.close()


async def test_a_conflict_is_raised_with_what_is_there(house: House) -> None:
    """The caller can show the revision that is in the way."""
    house.run_resources()
    await house.client.save_flow("main", "company.team", "hello", source())
    with pytest.raises(ResourceConflict, match="exists already") as caught:
        await house.client.save_flow("main", "company.team", "hello", source() + "# other", 0)
    assert (caught.value.revision, caught.value.key) == (1, "main/flow/company.team/hello")
    with pytest.raises(ResourceConflict, match="does not exist"):
        await house.client.delete(FLOW, "main", "company.team/nobody")


async def test_a_reply_that_came_during_an_interruption_is_found(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the log goes away before this server has read any reply."""
    poll, away = EmbeddedReader.poll, asyncio.Event()
    interrupted: list[str] = []
    reader: EmbeddedReader | None = None

    async def interrupt(self: EmbeddedReader, *, maximum: int, timeout: timedelta) -> Sequence[Record]:
        if self is reader and not interrupted:
            interrupted.append("once")
            await away.wait()
            raise LogUnavailable("made up")
        return await poll(self, maximum=maximum, timeout=timeout)

    opened = house.log.reader

    async def open_reader(topic: str, starts: Mapping[int, int | StartAt] | StartAt) -> EmbeddedReader:
        nonlocal reader
        found = await opened(topic, starts)
        assert isinstance(found, EmbeddedReader)
        reader = reader or found
        return found

    monkeypatch.setattr(house.log, "reader", open_reader)
    monkeypatch.setattr(EmbeddedReader, "poll", interrupt)
    monkeypatch.setattr(saving, "_BACK_OFF_SECONDS", 0)
    client = ResourceClient(
        house.log,
        house.catalog,
        instance="another",
        clock=house.clock,
        ids=lambda: "request-1",
        patience=timedelta(seconds=3),
    )
    await client.start()
    house.run_resources()
    asked = asyncio.create_task(client.save_flow("main", "company.team", "hello", source()))
    monkeypatch.setattr(house.log, "reader", opened)
    await house.records_when("replies", lambda found: found)
    away.set()
    assert (await asked).revision == 1
    await client.close()


async def test_only_one_of_many_who_create_the_same_wins(house: House) -> None:
    """Saves that race are decided one after the other."""
    house.run_resources()
    answers = await asyncio.gather(
        *(house.client.save_flow("main", "company.team", "hello", source() + f"# {n}", 0) for n in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Resource) for answer in answers) == 1
    assert sum(isinstance(answer, ResourceConflict) for answer in answers) == 9


async def test_without_an_executor_nobody_answers(house: House) -> None:
    """The caller is told that the outcome is unknown."""
    house.client._patience = timedelta(milliseconds=10)
    with pytest.raises(ReplyMissing, match="see whether the executor runs"):
        await house.client.save_flow("main", "company.team", "hello", source())


async def test_a_deleted_flow_keeps_its_source_and_its_revisions(house: House) -> None:
    """It is not listed any more, but can be looked at; saved again it goes on counting."""
    house.run_resources()
    first, second = source(), source() + "# second\n"
    await house.client.save_flow("main", "company.team", "hello", first)
    await house.client.save_flow("main", "company.team", "hello", second)
    await house.client.delete(FLOW, "main", "company.team/hello", 2)
    await house.catalog.catch_up()
    found = house.catalog.flow("main", "company.team", "hello")
    assert found is not None
    assert (found.deleted, found.revision, found.source) == (True, 2, second)
    assert list(house.catalog.flows("main")) == []
    old = house.catalog.flow("main", "company.team", "hello", 1)
    assert old is not None
    assert old.source == first
    assert [each.revision for each in house.catalog.revisions("main", "company.team", "hello")] == [1, 2]
    assert house.catalog.flow("main", "company.team", "hello", 3) is None
    await house.client.save_flow("main", "company.team", "hello", first)
    assert [each.revision for each in house.catalog.flows("main")] == [3]


async def test_flows_are_listed_by_namespace_and_text(house: House) -> None:
    """One namespace, those below it too, and a search in namespace and id; tenants never mix."""
    for namespace, flow_id in [
        ("company", "z"),
        ("company.team", "Alpha"),
        ("company.team", "b"),
        ("companyx", "c"),
    ]:
        await write(house, FLOW, f"{namespace}/{flow_id}", saved(source(flow_id, namespace)))
    await house.catalog.catch_up()

    def ids(**filters: object) -> list[str]:
        flows = house.catalog.flows("main", **filters)  # type: ignore[arg-type]  # a test passes what it likes
        return [f"{flow.key.namespace}/{flow.key.flow_id}" for flow in flows]

    assert ids() == ["company.team/Alpha", "company.team/b", "company/z", "companyx/c"]
    assert ids(namespace="company") == ["company/z"]
    assert ids(namespace="company", below=True) == ["company.team/Alpha", "company.team/b", "company/z"]
    assert ids(text="ALPHA") == ["company.team/Alpha"]
    assert list(house.catalog.namespaces("main")) == ["company", "company.team", "companyx"]
    assert list(house.catalog.flows("other")) == []


async def test_ten_thousand_flows_are_listed_without_being_parsed(house: House) -> None:
    """Lists cost neither parsing nor sorting again."""
    messages = [
        Message(
            topic="resources",
            key=str(ResourceKey("main", FLOW, f"company.n{number % 50}/f{number}")),
            value=encode(saved(source(f"f{number}", f"company.n{number % 50}"))),
        )
        for number in range(10_000)
    ]
    await house.log.append(messages)
    await house.catalog.catch_up()
    assert sum(1 for _ in house.catalog.flows("main")) == 10_000
    assert sum(1 for _ in house.catalog.flows("main", "company.n7")) == 200
    assert house.parses == 0


async def test_a_flow_is_parsed_once_while_it_is_in_use(house: House) -> None:
    """The last three are kept here; a new revision is another flow; what is invalid says so each time."""
    for name in "abcd":
        await write(house, FLOW, f"company.team/{name}", saved(source(name)))
    await write(house, FLOW, "company.team/bad", saved("id: ["))
    await house.catalog.catch_up()

    def flow(name: str) -> str:
        found = house.catalog.flow("main", "company.team", name)
        assert found is not None
        return found.flow.id

    assert [flow(name) for name in "aaabc"] == ["a", "a", "a", "b", "c"]
    assert house.parses == 3
    assert flow("d") == "d"
    assert flow("b") == "b"
    assert house.parses == 4
    assert flow("a") == "a"
    assert house.parses == 5
    for _ in range(2):
        with pytest.raises(FlowInvalid):
            flow("bad")
    assert house.parses == 6


async def test_an_older_record_never_replaces_a_newer_state(house: House) -> None:
    """The reply to an own save may be here before the topic tells of what happened before it."""
    key = str(ResourceKey("main", FLOW, "company.team/hello"))
    house.catalog.apply(ResourceReply(request_id="1", key=key, resource=saved("two", 2)))
    await write(house, FLOW, "company.team/hello", saved("one", 1))
    await house.catalog.catch_up()
    found = house.catalog.flow("main", "company.team", "hello")
    assert found is not None
    assert found.source == "two"
    house.catalog.apply(ResourceReply(request_id="2", key=key, conflict="no"))
    assert house.catalog.flow("main", "company.team", "hello") == found


async def test_listeners_hear_of_each_change_once(house: House) -> None:
    """Also of what is forgotten; one that fails does not silence the others; one that ended hears nothing."""
    heard: list[tuple[str, int | None]] = []

    def fail(key: ResourceKey, resource: Resource | None) -> None:
        raise KeyError("mine")

    end_of_failing = house.catalog.on_change(fail)
    end = house.catalog.on_change(
        lambda key, thing: heard.append((key.identifier, None if thing is None else thing.revision))
    )
    with capture_logs():
        await write(
            house, ResourceKind.SETTING, "theme", Resource(revision=1, updated=START, body=msgspec.Raw(b"1"))
        )
        await house.catalog.catch_up()
    end_of_failing()
    assert house.catalog.get(ResourceKind.SETTING, "main", "theme") is not None
    assert [name for name, _ in house.catalog.list(ResourceKind.SETTING, "main")] == ["theme"]
    await write(house, ResourceKind.SETTING, "theme", None)
    await house.catalog.catch_up()
    assert heard == [("theme", 1), ("theme", None)]
    assert list(house.catalog.list(ResourceKind.SETTING, "main")) == []
    end()
    await write(
        house, ResourceKind.SETTING, "theme", Resource(revision=2, updated=START, body=msgspec.Raw(b"1"))
    )
    await house.catalog.catch_up()
    assert len(heard) == 2


async def test_the_limit_is_that_of_the_latest_revision(house: House) -> None:
    """What the flows processor asks: without a limit when deleted, invalid or not given; None for nobody."""
    text = source("busy", "company.team", "concurrency: {limit: 2, behavior: FAIL}")
    await write(house, FLOW, "company.team/busy", saved(text))
    await write(house, FLOW, "company.team/free", saved(source("free")))
    await write(house, FLOW, "company.team/bad", saved("id: ["))
    await house.catalog.catch_up()

    def limit(name: str) -> FlowLimit | None:
        return house.catalog.limit(FlowKey("main", "company.team", name))

    assert limit("busy") == FlowLimit(updated=START, limit=2, behavior=OverLimit.FAIL)
    assert limit("free") == limit("bad") == FlowLimit(updated=START)
    assert limit("nobody") is None


async def test_garbage_on_the_topic_is_passed_over(house: House) -> None:
    """A record that cannot be read is skipped, and those behind it are read."""
    await house.log.append(
        [
            Message(topic="resources", key="main/flow/a/b", value=b"\xff"),
            Message(topic="resources", key="nonsense", value=b"{}"),
        ]
    )
    await write(house, FLOW, "company.team/hello", saved(source()))
    await house.catalog.catch_up()
    assert house.catalog.flow("main", "company.team", "hello") is not None
