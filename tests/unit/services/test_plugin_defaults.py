"""Plugin defaults of an installation, as pages 074 and 471 write them."""

from __future__ import annotations

from typing import Any

import pytest

from flowtide.model.source import parse_flow
from flowtide.services.plugin_defaults import plugin_defaults
from flowtide.services.plugins import discover_plugins
from flowtide.settings import Settings, SettingsError

RETRY = {"type": "constant", "interval": "PT1S", "maxAttempts": 3}


def settings(**plugins: Any) -> Settings:
    return Settings.load(
        environment={}, overrides={f"flowtide.plugins.{key}": value for key, value in plugins.items()}
    )


@pytest.mark.parametrize(
    "given",
    [
        {"configurations": [{"type": "io.kestra", "values": {"retry": RETRY}}]},
        {"defaults": [{"type": "io.kestra", "values": {"retry": RETRY}}]},
        {"defaults": [{"type": "io.kestra", "retry": RETRY}]},
    ],
)
def test_the_retry_of_all_tasks_stands_in_either_place(given: dict[str, Any]) -> None:
    """RTY-07, PLUG-5: as page 471 and as page 074 show it; what a task says itself is stronger."""
    parsed = parse_flow(
        """
        id: all
        namespace: company.team
        tasks:
          - {id: one, type: io.kestra.plugin.core.debug.Return}
          - {id: own, type: io.kestra.plugin.core.debug.Return, retry: {type: constant, interval: PT1S, maxAttempts: 9}}
        triggers:
          - {id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: abc}
        """,
        discover_plugins(),
        plugin_defaults=plugin_defaults(settings(**given)),
    )
    one, own = (task.retry for task in parsed.valid().tasks)
    assert one is not None
    assert own is not None
    assert (one.max_attempts, own.max_attempts) == (3, 9)


def test_a_default_that_cannot_be_read_names_its_place() -> None:
    """The operator sees which entry it is, not a stack trace."""
    with pytest.raises(SettingsError, match=r"plugins\.defaults\[0\]`: type"):
        plugin_defaults(settings(defaults=[{"values": {"a": 1}}]))
