"""`flowtide backups`: what one installation saved is in another one afterwards (BKP-1 to BKP-11)."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import pytest
from aiohttp import FormData

from flowtide.cli.commands import flowtide
from flowtide.services.backups import BackupUnusable
from tests.integration.test_api_operations import NEEDLE, TELL, served

KEY = "a phrase of more than thirty-two characters"


def _flowtide(*arguments: str) -> Any:
    return flowtide.main(list(arguments), prog_name="flowtide", standalone_mode=False)


async def _fill(folder: Path) -> None:
    async with served(folder) as client:
        await client.flow(TELL)
        headers = {"Content-Type": "application/x-yaml"}
        changed = TELL.replace("said", "changed")
        await client.call("PUT", "/main/flows/company.team/tell", changed, headers=headers)
        await client.call("PUT", "/main/namespaces/company/secrets", {"key": "API_KEY", "value": NEEDLE})
        await client.call("POST", "/main/namespaces", {"id": "company", "description": "ours"})
        await client.call("PUT", "/main/namespaces/company.team/kv/colour", '"blue"')
        path = "/main/namespaces/company.team/files?path=/notes.txt"
        form = FormData()
        form.add_field("fileContent", BytesIO(b"some notes"), filename="notes.txt")
        await client.call("POST", path, data=form)


async def _check(folder: Path) -> None:
    async with served(folder) as client:
        flow = await client.call("GET", "/main/flows/company.team/tell?source=true")
        assert flow["revision"] == 2
        assert flow["source"] == TELL.replace("said", "changed")
        assert len(await client.call("GET", "/main/flows/company.team/tell/revisions")) == 2
        assert (await client.call("GET", "/main/namespaces/company"))["description"] == "ours"
        assert (await client.call("GET", "/main/namespaces/company.team/kv/colour"))["value"] == "blue"
        content = await client.call("GET", "/main/namespaces/company.team/files?path=/notes.txt")
        assert content == "some notes"
        execution = await client.run("tell")  # with the secret, under the key of this installation
        (line,) = await client.until(f"/main/logs/{execution['id']}", bool)
        assert line["message"] == "value ****** changed"


def test_a_backup_is_restored_in_a_fresh_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Flows with their revisions, namespaces, pairs, files and secrets come back; the file shows nothing of them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    before, after = tmp_path / "before", tmp_path / "after"
    asyncio.run(_fill(before))
    monkeypatch.setenv("FLOWTIDE_DATA_PATH", str(before))
    with pytest.raises(click.ClickException, match="--encryption-key"):
        _flowtide("backups", "create", "FULL")
    capsys.readouterr()
    _flowtide("backups", "create", "FULL", "--encryption-key", KEY)
    summary, created = capsys.readouterr().out.splitlines()
    for found in ("FLOW: 1", "KV_STORE: 1", "NAMESPACE: 1", "NAMESPACE_FILE: 1", "SECRET: 1"):
        assert found in summary
    assert created.startswith("Backup created: kestra:///backups/full/backup-")
    (file,) = before.rglob("backup-*.kestra")
    content = file.read_bytes()
    for text in (NEEDLE, "company", "some notes"):
        assert text.encode() not in content

    monkeypatch.setenv("FLOWTIDE_DATA_PATH", str(after))
    with pytest.raises(BackupUnusable, match="another key"):
        _flowtide("backups", "restore", str(file), "--encryption-key", KEY + "!")
    cut = tmp_path / "cut"
    cut.write_bytes(b"\n".join(content.splitlines()[:-1]) + b"\n")
    with pytest.raises(BackupUnusable, match="not whole"):
        _flowtide("backups", "restore", str(cut), "--encryption-key", KEY)
    capsys.readouterr()
    _flowtide("backups", "restore", str(file), "--encryption-key", KEY)
    assert summary.removeprefix("Backup summary: ") in capsys.readouterr().out
    asyncio.run(_check(after))


def test_a_fresh_installation_has_nothing_to_migrate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CLI-23, CLI-24: the verbs of upgrades are there and say so."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FLOWTIDE_DATA_PATH", str(tmp_path / "data"))
    for what in ("kv", "nsfiles", "secrets"):
        _flowtide("migrate", "metadata", what, "--dry-run")
        assert capsys.readouterr().out.startswith("0 ")
    _flowtide("migrate", "default-tenant", "--tenant-id", "a", "--tenant-name", "A", "--dry-run")
    assert capsys.readouterr().out.startswith("0 ")
    _flowtide("sys", "database", "migrate")
    assert "done: the topic" in capsys.readouterr().out
