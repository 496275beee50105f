"""`flowtide dead-letters` and `flowtide sys reindex` on an embedded installation that a server has used."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flowtide.cli.commands import flowtide
from flowtide.errors import FlowtideError, ResourceConflict, ValueInvalid
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.index.queries import Query
from flowtide.log.port import Message
from flowtide.log.topics import load_topics
from flowtide.model.audit import AUDIT_DECODER, AuditEntry
from flowtide.model.services import ServiceType
from flowtide.services.ports import open_log
from flowtide.services.process import Process
from flowtide.settings import Settings

Terminal = pytest.CaptureFixture[str]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that a command of this test reads too: the data are below the test's folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FLOWTIDE_DATA_PATH", str(tmp_path / "data"))
    return Settings.load()


def _flowtide(*arguments: str) -> Any:
    return flowtide.main(list(arguments), prog_name="flowtide", standalone_mode=False)


async def _letters(settings: Settings, expected: int) -> None:
    """Let an executor work until there are that many dead letters."""
    process = Process(settings, (ServiceType.EXECUTOR,))
    async with process.serving():
        while True:
            if sum((await process.log.end_offsets("dead_letters")).values()) >= expected:
                return
            await asyncio.sleep(0)


async def _write_garbage(settings: Settings) -> None:
    log = open_log(settings)
    await log.start()
    try:
        await log.ensure_topics(list(load_topics().values()))
        await log.append([Message(topic="execution_commands", key="main/x", value=b"\xffgarbage")])
    finally:
        await log.close()


def test_garbage_becomes_a_dead_letter_that_can_be_replayed(settings: Settings, capsys: Terminal) -> None:
    """The letter is listed with its reason; a replay puts the same bytes on the topic, where they fail again."""
    asyncio.run(_write_garbage(settings))
    asyncio.run(_letters(settings, 1))
    capsys.readouterr()

    _flowtide("dead-letters", "list", "--output", "json")
    (letter,) = json.loads(capsys.readouterr().out)
    assert (letter["topic"], letter["key"], letter["group"]) == ("execution_commands", "main/x", "executor")
    assert "not a command" in letter["reason"]

    _flowtide("dead-letters", "replay", letter["id"])
    assert capsys.readouterr().out.startswith("1 record replayed")
    asyncio.run(_letters(settings, 2))
    capsys.readouterr()
    _flowtide("dead-letters", "list", "--output", "json")
    first, second = json.loads(capsys.readouterr().out)
    assert first["value"] == second["value"]


def test_a_selection_narrows_the_letters(settings: Settings, capsys: Terminal) -> None:
    """`--topic` and `--group` leave out what they do not name."""
    asyncio.run(_write_garbage(settings))
    asyncio.run(_letters(settings, 1))
    capsys.readouterr()

    for options, found in ((["--topic", "logs"], 0), (["--group", "executor"], 1)):
        _flowtide("dead-letters", "list", "--output", "json", *options)
        assert len(json.loads(capsys.readouterr().out)) == found


def test_the_index_is_written_anew_by_the_next_indexer(settings: Settings, capsys: Terminal) -> None:
    """After `sys reindex --type service` the documents are gone, and the next indexer brings them back."""

    async def indexed() -> set[str]:
        """Serve until this start's own services are in the index; gives the ids of all of them."""
        process = Process(settings, (ServiceType.EXECUTOR, ServiceType.INDEXER))
        async with process.serving():
            mine = {heartbeat.instance.id for heartbeat in process.heartbeats.values()}
            while True:
                page = await process.index.search(SYSTEM_TENANT, Query(kind="services", size=100))
                found = {each.id for each in page.results}
                if mine <= found:
                    return found
                await asyncio.sleep(0)

    before = asyncio.run(indexed())
    capsys.readouterr()
    _flowtide("sys", "reindex", "--type", "service")
    assert capsys.readouterr().out == "services: the indexer writes them anew when it starts next\n"
    assert before <= asyncio.run(indexed())


def test_flows_that_only_the_index_has_are_saved_again(settings: Settings, capsys: Terminal) -> None:
    """`sys-ee restore-queue` brings back what a lost log had, and leaves what is there (CLI-44, BKP-12)."""
    source = "id: lost\nnamespace: tests\ntasks: [{id: a, type: io.kestra.plugin.core.log.Log, message: a}]\n"

    async def save() -> None:
        process = Process(settings, (ServiceType.EXECUTOR, ServiceType.INDEXER))
        async with process.serving():
            await process.client.save_flow("main", "tests", "lost", source)
            while True:
                if await process.index.get("flows", "main", "tests/lost") is not None:
                    return
                await asyncio.sleep(0)

    asyncio.run(save())
    for file in settings.data_path.glob("log.db*"):
        file.unlink()
    capsys.readouterr()

    _flowtide("sys-ee", "restore-queue", "--no-recreate", "--no-templates")
    assert capsys.readouterr().out == "1 flow restored, 0 there already\n"
    _flowtide("sys-ee", "restore-queue")
    assert capsys.readouterr().out == "0 flows restored, 1 there already\n"
    _flowtide("sys-ee", "restore-flow-listeners", "--timeout", "120")
    assert capsys.readouterr().out.startswith("1 flow on the log")
    _flowtide("sys-ee", "reset-concurrency-limit")
    assert capsys.readouterr().out.startswith("1 flow:")


def test_the_verbs_of_migrations_have_nothing_to_do(settings: Settings, capsys: Terminal) -> None:
    """They end well, so that the upgrade script of page 333 runs as it is (CLI-23 to CLI-25)."""
    for arguments in (
        ["migrate", "default-tenant", "--dry-run"],
        ["migrate", "default-tenant", "--tenant-id", "main", "--tenant-name", "Main"],
        ["migrate", "metadata", "kv"],
        ["migrate", "metadata", "secrets"],
        ["migrate", "metadata", "nsfiles"],
        ["sys", "state-store", "migrate"],
    ):
        _flowtide(*arguments)
        assert capsys.readouterr().out.startswith("0 ")
    _flowtide("sys", "database", "migrate")
    assert "topic" in capsys.readouterr().out


def test_users_and_tenants_are_made_before_any_server_runs(
    settings: Settings, capsys: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auths` and `tenants` write to the installation itself, and its audit log says so (CLI-26 to CLI-29)."""

    def said(*arguments: str) -> str:
        _flowtide(*arguments)
        return capsys.readouterr().out

    users = ("auths", "users")
    assert said(*users, "create", "a@example.org", "Admin1234", "--superadmin").startswith(
        "a@example.org is made"
    )
    with pytest.raises(ResourceConflict):
        said(*users, "create", "a@example.org", "Admin1234")
    assert "already" in said(*users, "create", "a@example.org", "Admin1234", "--if-not-exists")
    for wrong in (["nobody"], ["b@example.org", "short"], ["b@example.org", "--groups", "none"]):
        with pytest.raises(FlowtideError):
            said(*users, "create", *wrong)
    with pytest.raises(ValueInvalid, match="last superadmin"):
        said(*users, "set-superadmin", "a@example.org", "false")
    assert "made" in said("tenants", "create", "prod", "Production", "--admin-username", "a@example.org")
    with pytest.raises(FlowtideError, match="no tenant"):
        said(*users, "create", "c@example.org", "--tenant", "none")
    assert "tenant prod" in said(*users, "create", "c@example.org", "--tenant", "prod", "--admin")
    assert said(*users, "sync-access").startswith("1 of 2 users may enter main")
    assert said(*users, "sync-access").startswith("0 of 2 users may enter main")
    monkeypatch.setattr("sys.stdin", io.StringIO("Other1234\n"))
    assert said(*users, "create-basic-auth", "c@example.org") == "c@example.org has the new password\n"
    assert said(*users, "refresh").startswith("0 of 2 users")

    async def noted() -> list[AuditEntry]:
        log = open_log(settings)
        await log.start()
        try:
            reader = await log.reader("audit_logs", "beginning")
            found: list[AuditEntry] = []
            while not await reader.at_end():
                records = await reader.poll(maximum=1_000, timeout=timedelta(seconds=1))
                found.extend(AUDIT_DECODER.decode(record.value or b"") for record in records)
            await reader.close()
            return found
        finally:
            await log.close()

    entries = asyncio.run(noted())
    assert {each.actor.type for each in entries} == {"SYSTEM"}
    assert {"USER", "TENANT"} <= {each.resource for each in entries}
