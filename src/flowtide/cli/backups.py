"""`flowtide backups ...`: saves and restores everything but executions (BKP-1 to BKP-11, page 003)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowtide.cli.options import Invocation, common_options

if TYPE_CHECKING:
    from flowtide.model.encrypted import Cipher
    from flowtide.services.backups import Backups
    from flowtide.services.process import Process
    from flowtide.settings import Settings

_KEY = click.option("--encryption-key", help="The key of the backup, in place of `encryption.secret-key`.")


@click.group()
def backups() -> None:
    """Save and restore flows, namespaces, pairs, files, secrets, identities and everything else but executions.

    Stop a standalone server before, or enter maintenance mode on Kafka.
    """


@backups.command()
@click.argument("kind", type=click.Choice(["FULL", "TENANT"], case_sensitive=False), default="FULL")
@click.option("--tenant", default="main", show_default=True, help="Of TENANT: which one.")
@click.option("--resources", multiple=True, help="Only these kinds, such as FLOW, KV_STORE or SECRET.")
@_KEY
@click.option("--no-encryption", is_flag=True, help="Let everybody read the backup, secrets too.")
@click.option("--include-data", is_flag=True, help="Executions, logs and metrics: refused, see the message.")
@common_options
def create(
    invocation: Invocation,
    kind: str,
    tenant: str,
    resources: Sequence[str],
    encryption_key: str | None,
    no_encryption: bool,
    include_data: bool,
) -> None:
    """Write a backup to the internal storage, of the whole instance (FULL) or of one TENANT."""
    if include_data:
        raise click.ClickException(
            "executions are no part of a backup: copy the data folder of a stopped server, or snapshot Elasticsearch "
            "and mirror the topics of Kafka"
        )
    settings = invocation.settings()
    invocation.configure_logging(settings, default="WARN")
    cipher = None if no_encryption else _cipher(settings, encryption_key)
    names = [name for each in resources for name in each.split(",") if name]
    owner = tenant if kind.upper() == "TENANT" else None
    uri, counts = asyncio.run(_create(settings, cipher, owner, names))
    click.echo(f"Backup summary: {_summary(counts)}")
    click.echo(f"Backup created: {uri}")


@backups.command()
@click.argument("uri")
@_KEY
@click.option("--to-tenant", help="Restore a backup of type TENANT to this tenant.")
@common_options
def restore(invocation: Invocation, uri: str, encryption_key: str | None, to_tenant: str | None) -> None:
    """Save everything in the backup at URI again: `kestra:///backups/...`, or a file of this machine."""
    settings = invocation.settings()
    invocation.configure_logging(settings, default="WARN")
    header, counts = asyncio.run(_restore(settings, uri, encryption_key, to_tenant))
    click.echo(
        f"Restored {header['type']} backup from version {header['flowtide']} created at {header['created']}"
    )
    click.echo(f"Restore summary: {_summary(counts)}")
    click.echo(f"Backup restored from URI: {uri}")


def _cipher(settings: Settings, given: str | None) -> Cipher:
    from flowtide.errors import SettingsError
    from flowtide.secrets import encryption_of_phrase, open_encryption

    if given is None:
        found = open_encryption(settings.encryption.secret_key, settings.encryption.former_secret_keys)
        if found is None:
            raise click.ClickException(
                "there is no `encryption.secret-key` in the settings: give --encryption-key (and keep it), or say "
                "--no-encryption"
            )
        return found
    try:
        found = open_encryption(given)
    except SettingsError:
        return encryption_of_phrase(given, "--encryption-key")
    assert found is not None
    return found


def _summary(counts: Mapping[str, int]) -> str:
    return f"[{', '.join(f'{name}: {count}' for name, count in counts.items())}]"


def _backups(process: Process) -> Backups:
    from flowtide.services.backups import Backups

    return Backups(
        catalog=process.catalog,
        client=process.client,
        storage=process.storage,
        dedicated=process.dedicated,
        secrets=process.secrets,
        clock=process.surroundings.clock,
    )


async def _create(
    settings: Settings, cipher: Cipher | None, tenant: str | None, resources: Sequence[str]
) -> tuple[str, Mapping[str, int]]:
    from flowtide.services.backups import STORAGE_TENANT, backup_uri, write_to
    from flowtide.services.process import Process

    process = Process(settings, ())
    async with process.serving():
        with tempfile.TemporaryDirectory(prefix="flowtide-backup-") as folder:
            path = Path(folder) / "backup"
            with write_to(path) as target:
                counts = await _backups(process).write(target, cipher, tenant=tenant, resources=resources)
            uri = backup_uri(process.surroundings.clock(), tenant)
            await process.storage.put(STORAGE_TENANT, uri, path)
    return uri, counts


async def _restore(
    settings: Settings, uri: str, encryption_key: str | None, to_tenant: str | None
) -> tuple[Mapping[str, object], Mapping[str, int]]:
    from flowtide.errors import FileMissing
    from flowtide.model.services import ServiceType
    from flowtide.services.backups import STORAGE_TENANT, header_of
    from flowtide.services.process import Process

    process = Process(settings, (ServiceType.EXECUTOR,))
    async with process.serving():
        with tempfile.TemporaryDirectory(prefix="flowtide-backup-") as folder:
            path = Path(folder) / "backup"
            if uri.startswith("kestra:///"):
                if not await process.storage.exists(STORAGE_TENANT, uri):
                    raise FileMissing(f"there is no backup {uri}")
                await process.storage.fetch(STORAGE_TENANT, uri, path)
            else:
                path = Path(uri)
                if not path.is_file():
                    raise FileMissing(f"there is no file {uri}")
            with path.open("rb") as source:  # noqa: ASYNC230 - nobody else uses this event loop
                header = header_of(source)
                cipher = _cipher(settings, encryption_key) if header["encrypted"] else None
                counts = await _backups(process).read(source, cipher, to_tenant=to_tenant)
    return header, counts
