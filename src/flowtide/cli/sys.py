"""`flowtide sys ...`: maintenance of an installation whose settings are read here (CLI-25)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import click

from flowtide.cli.counts import counted
from flowtide.cli.options import Invocation, common_options

if TYPE_CHECKING:
    from flowtide.settings import Settings

#: What Kestra calls the kinds, beside our names.
_SINGULAR = {
    "execution": "executions",
    "flow": "flows",
    "log": "logs",
    "metric": "metrics",
    "trigger": "triggers",
    "taskrun": "task_runs",
    "event": "events",
    "service": "services",
    "auditlog": "audit_logs",
}


_PORTION = 500  # commands that one append carries


@click.group(name="sys")
def sys_() -> None:
    """Maintain an installation."""


@sys_.command()
@click.option(
    "--type",
    "kinds",
    multiple=True,
    help="Only this kind of documents; may be given again. By default all kinds.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="Write documents over instead of removing them first: what is no longer on the log stays.",
)
@common_options
def reindex(invocation: Invocation, kinds: Sequence[str], keep: bool) -> None:
    """Have the search index written anew from the log.

    Stop the indexers (or the standalone server) before. The next indexer that starts does the work; what is
    older than the retention of its topic does not come back, unless --keep leaves it where it is.
    """
    from flowtide.index.kinds import KINDS

    names = [_SINGULAR.get(kind.lower(), kind) for kind in kinds] or list(KINDS)
    unknown = sorted(set(names) - set(KINDS))
    if unknown:
        raise click.BadParameter(f"there is no kind {', '.join(unknown)}; there are {', '.join(KINDS)}")
    settings = invocation.settings()
    invocation.configure_logging(settings, default="WARN")
    asyncio.run(_reindex(settings, names, keep))
    click.echo(f"{', '.join(names)}: the indexer writes them anew when it starts next")


async def _reindex(settings: Settings, kinds: Sequence[str], keep: bool) -> None:
    from flowtide.log.topics import load_topics
    from flowtide.services.indexer import reindex as start_anew
    from flowtide.services.ports import open_index, open_log

    async with AsyncExitStack() as stack:
        log = open_log(settings)
        await log.start()
        stack.push_async_callback(log.close)
        await log.ensure_topics(list(load_topics().values()))
        index = open_index(settings)
        await index.start()
        stack.push_async_callback(index.close)
        await start_anew(log, index, kinds, empty=not keep)


@sys_.group()
def database() -> None:
    """The schema of what is kept."""


@database.command("migrate")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@common_options
def migrate_database(invocation: Invocation, dry_run: bool) -> None:
    """Make the topics, tables and mappings of this version (UPG-2); servers do the same when they start."""
    settings = invocation.settings()
    invocation.configure_logging(settings, default="WARN")
    from flowtide.services.upgrade import planned, upgrade

    done = asyncio.run(planned(settings) if dry_run else upgrade(settings))
    for each in done:
        click.echo(f"would be done: {each}" if dry_run else f"done: {each}")
    if not done:
        click.echo("the topics, and the tables or mappings of the index, are those of this version")


@sys_.group("state-store")
def state_store() -> None:
    """The state store of earlier versions."""


@state_store.command("migrate")
@common_options
def migrate_state_store(invocation: Invocation) -> None:
    """Move states to the key-value store (UPG-7): there are none elsewhere."""
    invocation.settings()
    click.echo("0 states to migrate: states are pairs of the key-value store from the beginning")


@sys_.command("reset-concurrency-limit")
@common_options
def reset_concurrency_limit(invocation: Invocation) -> None:
    """Have every flow look after its concurrency slots: those of executions that are gone are freed (CLI-46).

    On Kafka the executors may run meanwhile. Stop a standalone server before; it does the work when it starts.
    """
    _look_after_slots(invocation, release=False)


@sys_.command("submit-queued-execution")
@common_options
def submit_queued_execution(invocation: Invocation) -> None:
    """Run all executions that wait for a concurrency slot, beyond the limits of their flows (UPG-5).

    On Kafka the executors may run meanwhile. Stop a standalone server before; it does the work when it starts.
    """
    _look_after_slots(invocation, release=True)


def _look_after_slots(invocation: Invocation, *, release: bool) -> None:
    settings = invocation.settings()
    invocation.configure_logging(settings, default="WARN")
    count = asyncio.run(_reset_slots(settings, release))
    done = "those that wait are run" if release else "slots that nobody needs are freed"
    click.echo(f"{counted(count, 'flow')}: {done}, by the executors")


async def _reset_slots(settings: Settings, release: bool) -> int:
    from flowtide.log.port import Message
    from flowtide.log.topics import load_topics
    from flowtide.model.flow_commands import ResetSlots
    from flowtide.model.records import encode
    from flowtide.services.catalog import Catalog
    from flowtide.services.ports import open_log

    def never_parsed(source: str, tenant: str) -> NoReturn:
        raise AssertionError("only the keys of flows are looked at")

    async with AsyncExitStack() as stack:
        log = open_log(settings)
        await log.start()
        stack.push_async_callback(log.close)
        await log.ensure_topics(list(load_topics().values()))
        catalog = Catalog(log, never_parsed)
        await catalog.start()
        stack.push_async_callback(catalog.close)
        reset = encode(ResetSlots(at=datetime.now(UTC), release=release))
        messages = [
            Message(topic="flow_commands", key=str(saved.key), value=reset)
            for tenant in sorted(catalog.tenants())
            for saved in catalog.flows(tenant)
        ]
        for first in range(0, len(messages), _PORTION):
            await log.append(messages[first : first + _PORTION])
        return len(messages)
