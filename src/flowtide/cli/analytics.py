"""`flowtide server analytics`: the common options in, the analytics app runs until a signal."""

from __future__ import annotations

import asyncio

import click

from flowtide.cli.options import Invocation, common_options


@click.command()
@common_options
def analytics(invocation: Invocation) -> None:
    """Writes statistics of flows, a record a minute, to the topic execution_statistics.

    Needs `queue.type: kafka` and the extra flowtide[analytics].
    """
    settings = invocation.settings()

    from flowtide.analytics.service import run

    invocation.configure_logging(settings)
    asyncio.run(run(settings))
