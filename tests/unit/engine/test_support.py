"""What a flow may say that is not run yet is told before it runs."""

from __future__ import annotations

from flowtide.engine.support import warn_of_unsupported
from flowtide.model.source import parse_flow
from flowtide.services.plugins import discover_plugins


def test_what_is_not_run_is_told_when_the_flow_is_validated() -> None:
    """A retry of the whole flow keeps it from running; triggers are fine."""
    parsed = parse_flow(
        """
        id: ambitious
        namespace: company.team
        retry: {type: constant, interval: PT1S, maxAttempts: 2}
        tasks:
          - {id: one, type: io.kestra.plugin.core.debug.Return}
        triggers:
          - {id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: abc, logToFile: true}
          - {id: after, type: io.kestra.plugin.core.trigger.Flow}
        """,
        discover_plugins(),
    )
    assert warn_of_unsupported(parsed).warnings == [
        "retry is not run by this version: executions of this flow fail",
        "trigger `hook`: logToFile has no effect in this version",
    ]


def test_what_reads_otherwise_in_a_flow_trigger_is_told() -> None:
    """FTR-08, TRG-03: labels select executions too; a Flow trigger has no lock that could be asked for."""
    parsed = parse_flow(
        """
        id: alert
        namespace: company.team
        tasks:
          - {id: one, type: io.kestra.plugin.core.debug.Return}
        triggers:
          - {id: up, type: io.kestra.plugin.core.trigger.Flow, labels: {sla: miss}, allowConcurrent: false}
        """,
        discover_plugins(),
    )
    lock, labels = warn_of_unsupported(parsed).warnings
    assert "trigger `up`: allowConcurrent has no effect" in lock
    assert "trigger `up`: it fires only for executions that carry all of its `labels`" in labels
