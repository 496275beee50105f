"""The plugin defaults of an installation: settings in, what every flow is read with out (PLUG-1, PLUG-5, RTY-07)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from flowtide.model.flow import PluginDefault
from flowtide.settings import Settings, SettingsError

_ALL_TASKS = "io.kestra"


def plugin_defaults(settings: Settings) -> list[PluginDefault]:
    """The entries of `plugins.defaults`, then what `plugins.configurations` says for all tasks.

    Values may stand under `values` or, as page 074 shows for `retry`, beside `type`.  Raises SettingsError.
    """
    defaults = [
        _default(entry, f"plugins.defaults[{index}]") for index, entry in enumerate(settings.plugins.defaults)
    ]
    for index, entry in enumerate(settings.plugins.configurations):
        # Page 471 gives the retry of all tasks here; whatever else stands there is not about single tasks.
        retry = (entry.get("values") or {}).get("retry")
        if entry.get("type") == _ALL_TASKS and retry is not None:
            values = {"type": _ALL_TASKS, "values": {"retry": retry}}
            defaults.append(_default(values, f"plugins.configurations[{index}]"))
    return defaults


def _default(entry: Mapping[str, Any], place: str) -> PluginDefault:
    beside = {key: value for key, value in entry.items() if key not in ("type", "values", "forced")}
    given = {key: value for key, value in entry.items() if key not in beside}
    if beside:
        given["values"] = {**beside, **(entry.get("values") or {})}
    try:
        return PluginDefault.model_validate(given)
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise SettingsError([f"`{place}`: {reasons}"]) from None
