"""`flowtide flow ...`: the table of what can be done with flows, in files and on a server (CLI-12 to CLI-19)."""

from __future__ import annotations

import click

from flowtide.cli.lazy import LazyGroup, Table

COMMANDS: Table = {
    "validate": ("flowtide.cli.flow_checks:validate", "Check flows, without running them."),
    "test": ("flowtide.cli.flow_checks:test", "Run a flow in this process, without a server."),
    "dot": ("flowtide.cli.flow_checks:dot", "Write the graph of a flow, for Graphviz."),
    "expand": ("flowtide.cli.flow_checks:expand", "Write a flow with the files that it includes."),
    "list": ("flowtide.cli.flow_listing:list_", "List the flows of a server."),
    "export": ("flowtide.cli.flow_listing:export", "Write the flows of a server to a ZIP archive."),
    "create": ("flowtide.cli.flow_saving:create", "Save a new flow on a server."),
    "update": ("flowtide.cli.flow_saving:update", "Save the next revision of a flow."),
    "updates": ("flowtide.cli.flow_saving:updates", "Save all flows of a folder."),
    "delete": ("flowtide.cli.flow_saving:delete", "Delete a flow."),
    "namespace": ("flowtide.cli.flow_saving:namespace", "All flows of a namespace at once."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def flow() -> None:
    """Check, try and save flows."""
