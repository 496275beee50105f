"""What a flow may say that is not run yet is told before it runs."""

from __future__ import annotations

from flowtide.engine.support import warn_of_unsupported
from flowtide.model.source import parse_flow
from flowtide.services.plugins import discover_plugins


def test_what_is_not_run_is_told_when_the_flow_is_validated() -> None:
    """A retry of the whole flow keeps it from running; a Flow trigger never fires; a Webhook is fine."""
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
        "trigger `after`: this version does not fire triggers of type io.kestra.plugin.core.trigger.Flow yet",
        "trigger `hook`: logToFile has no effect in this version",
    ]
