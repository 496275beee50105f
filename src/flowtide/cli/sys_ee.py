"""`flowtide sys-ee ...`: maintenance of an installation on Kafka (CLI-44 to CLI-46), with the settings read here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from flowtide.cli.counts import counted
from flowtide.cli.options import Invocation, common_options
from flowtide.cli.sys import reset_concurrency_limit

if TYPE_CHECKING:
    from flowtide.settings import Settings


@click.group()
def sys_ee() -> None:
    """Maintain an installation on Kafka."""


sys_ee.add_command(reset_concurrency_limit)


@sys_ee.command("restore-queue")
@click.option("--no-recreate", is_flag=True, help="Leave topics that are there: always so, see below.")
@click.option("--no-flows", is_flag=True, help="Do not restore flows.")
@click.option("--no-templates", is_flag=True, help="Without effect: only backups have templates.")
@click.option("--no-triggers", is_flag=True, help="Without effect: triggers come with their flows.")
@click.option("--no-namespaces", is_flag=True, help="Without effect: only backups have namespaces.")
@click.option("--no-tenants", is_flag=True, help="Without effect: only backups have tenants.")
@click.option(
    "--tenant", "tenants", multiple=True,
    help="Restore what is of this tenant; may be given again. By default `main` and all tenants that are known.",
)  # fmt: skip  # a table
@common_options
def restore_queue(
    invocation: Invocation, no_flows: bool, tenants: Sequence[str], **_without_effect: bool
) -> None:
    """Save the flows that the search index has and the log has not, after topics were lost.

    Topics that are missing are made; those that are there are never dropped, as the log is the only place of most
    things. What else was saved (namespaces, pairs, files, templates, users, roles, tenants) comes back by
    `flowtide backups restore`, best before this command. Afterwards run `flowtide sys reindex`. Stop a standalone
    server before.
    """
    settings = invocation.settings()
    invocation.configure_logging(settings, default="ERROR")
    restored, there = asyncio.run(_restore(settings, tenants, flows=not no_flows))
    click.echo(f"{counted(restored, 'flow')} restored, {there} there already")


async def _restore(settings: Settings, tenants: Sequence[str], *, flows: bool) -> tuple[int, int]:
    from flowtide.cli.bulk import each_of
    from flowtide.cli.saving_services import saving_services
    from flowtide.index.kinds import SYSTEM_TENANT
    from flowtide.services.ports import open_index
    from flowtide.services.process import Process

    process = Process(settings, await saving_services(settings))
    restored = there = 0
    async with process.serving(), AsyncExitStack() as stack:
        if not flows:
            return 0, 0
        index = open_index(settings)
        stack.push_async_callback(index.close)
        await index.start()
        wanted = tenants or sorted({"main", *process.catalog.tenants()} - {SYSTEM_TENANT})
        for tenant in wanted:
            found = [each.document async for page in index.scan(tenant, "flows") for each in page]
            for document in each_of(found, f"flows of {tenant}"):
                known = process.catalog.flow(tenant, document["namespace"], document["id"])
                if known is not None or "source" not in document:
                    there += 1
                    continue
                await process.client.save_flow(
                    tenant, document["namespace"], document["id"], document["source"], by="flowtide sys-ee"
                )
                restored += 1
    return restored, there


@sys_ee.command("restore-flow-listeners")
@click.option(
    "--timeout", type=click.IntRange(1), default=60, show_default=True, metavar="SECONDS",
    help="How long the log may take to be read.",
)  # fmt: skip  # a table
@common_options
def restore_flow_listeners(invocation: Invocation, timeout: int) -> None:
    """Check that the flows on the log can be read, from which executors know who listens to whom.

    There is no store of listeners to be restored: every executor makes its own when it starts.
    """
    settings = invocation.settings()
    invocation.configure_logging(settings, default="ERROR")
    try:
        count = asyncio.run(_count_flows(settings, timedelta(seconds=timeout)))
    except TimeoutError:
        raise click.ClickException(f"the log could not be read within {timeout} s; is Kafka there?") from None
    click.echo(
        f"{counted(count, 'flow')} on the log; executors find the listeners among them when they start"
    )


async def _count_flows(settings: Settings, limit: timedelta) -> int:
    from flowtide.services.process import Process

    async with asyncio.timeout(limit.total_seconds()):
        process = Process(settings, ())
        async with process.serving():
            catalog = process.catalog
            return sum(1 for tenant in catalog.tenants() for _ in catalog.flows(tenant))
