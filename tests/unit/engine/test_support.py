"""What a flow may say that is not run yet is told before it runs."""

from __future__ import annotations

from flowtide import __version__
from flowtide.engine.support import warn_of_unsupported
from flowtide.model.source import parse_flow
from flowtide.services.plugins import discover_plugins


def test_what_is_not_run_is_told_when_the_flow_is_validated() -> None:
    """A version that is not installed keeps a flow from running (TSK-12); of triggers, what has no effect is told."""
    parsed = parse_flow(
        """
        id: ambitious
        namespace: company.team
        tasks:
          - {id: one, type: io.kestra.plugin.core.debug.Return, version: 99.0.0}
          - {id: two, type: io.kestra.plugin.core.debug.Return, version: LATEST}
        triggers:
          - {id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: abc, logToFile: true, version: 99.0.0}
          - {id: after, type: io.kestra.plugin.core.trigger.Flow}
        """,
        discover_plugins(),
    )
    pin = f"task `one`: version 99.0.0 ({__version__} is installed)"
    assert warn_of_unsupported(parsed).warnings == [
        f"{pin} is not run by this version: executions of this flow fail",
        "trigger `hook`: logToFile has no effect in this version",
        f"trigger `hook`: it runs with version {__version__}, which is installed, and not with 99.0.0",
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


def test_what_a_trigger_waits_for_is_told() -> None:
    """TSK-06 of triggers: an evaluation waits for a worker of its group, whatever `fallback` says."""
    parsed = parse_flow(
        """
        id: polls
        namespace: company.team
        tasks:
          - {id: one, type: io.kestra.plugin.core.debug.Return}
        triggers:
          - id: look
            type: io.kestra.plugin.core.http.Trigger
            uri: http://localhost
            workerGroup: {key: gpu, fallback: FAIL}
        """,
        discover_plugins(),
    )
    (told,) = warn_of_unsupported(parsed).warnings
    assert told.startswith("trigger `look`: workerGroup.fallback FAIL has no effect")
