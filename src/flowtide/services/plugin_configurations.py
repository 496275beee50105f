"""What the settings say of single plugins (`plugins.configurations`): settings in, switches of types out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowtide.processors.schedule import Recover
from flowtide.settings import Settings


def plugin_configurations(settings: Settings) -> dict[str, dict[str, Any]]:
    """The values that are configured for each type, later entries over earlier ones."""
    found: dict[str, dict[str, Any]] = {}
    for entry in settings.plugins.configurations:
        if isinstance(entry.get("type"), str):
            found.setdefault(entry["type"], {}).update(entry.get("values") or {})
    if settings.tasks.docker_volumes:
        found.setdefault("io.kestra.plugin.scripts.runner.docker.Docker", {}).setdefault(
            "volume-enabled", True
        )
    return found


def subflow_outputs(settings: Settings) -> bool:
    """Whether the operator lets the deprecated `outputs` of Subflow, or of Flow as it was called, work (SUB-03)."""
    configurations = plugin_configurations(settings)
    found = [configurations.get(f"io.kestra.plugin.core.flow.{name}", {}) for name in ("Subflow", "Flow")]
    outputs = [values["outputs"] for values in found if isinstance(values.get("outputs"), Mapping)]
    return any(each.get("enabled") in (True, "true") for each in outputs)


def recover_missed_schedules(settings: Settings) -> Recover:
    """What Schedule triggers do about dates that were missed, unless they say so themselves."""
    values = plugin_configurations(settings).get("io.kestra.plugin.core.trigger.Schedule", {})
    return Recover(str(values.get("recoverMissedSchedules", "ALL")).upper())


def allowed_paths_of_types(settings: Settings) -> dict[str, list[Path]]:
    """The folders of the host that single types may read, from their configurations (FIL-01)."""
    found: dict[str, list[Path]] = {}
    for name, values in plugin_configurations(settings).items():
        for key, value in values.items():
            if key.replace("-", "").lower() == "allowedpaths":
                found[name] = [Path(str(each)) for each in (value if isinstance(value, list) else [value])]
    return found
