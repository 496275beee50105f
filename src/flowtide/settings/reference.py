"""Writes docs/reference/settings.md from the table: `python -m flowtide.settings.reference FILE`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin

from flowtide.settings.fields import Setting
from flowtide.settings.sources import all_settings
from flowtide.settings.values import show_value

_HEAD = """# Settings

This page is generated from `src/flowtide/settings/table.py` (`make docs`).

Settings come, later ones winning, from the files named with `--config` (or else `~/.flowtide/config.yml`),
from the variable `FLOWTIDE_CONFIGURATION` (a whole YAML document), from single environment variables, and
from the command line. `kestra:` is read as `flowtide:` and `KESTRA_...` as `FLOWTIDE_...`. Keys may be
written in kebab-case, camelCase or snake_case, nested or with dots. `${NAME:default}` in a value is
replaced by the environment variable or the setting of that name. Durations are written `5s`, `250ms`,
`1h30m`, `7d` or `PT5S`; sizes `1048576`, `5MB` or `10GB`. A `*` stands for a name of your own. The
environment variable of a key is its upper case with `_` for dots and dashes: `flowtide.server.port` is
`FLOWTIDE_SERVER_PORT`.

A wrong value ends the start with a message that names file and key; an unknown key is told as a warning.
"""

_KINDS = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false", "Path": "path"}


def _kind(annotation: Any, unit: str) -> str:
    if unit:
        return {"bytes": "size"}.get(unit, unit)
    arguments = [part for part in get_args(annotation) if part is not type(None)]
    origin = get_origin(annotation)
    if origin is tuple:
        return "list of " + _kind(arguments[0], "").replace("text", "texts")
    if origin is Mapping:
        return "map"
    if arguments:
        return _kind(arguments[0], "")
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    return _KINDS.get(annotation.__name__, str(annotation.__name__))


def _row(setting: Setting) -> str:
    default = setting.shown_default
    if default is None:
        shown = "" if isinstance(setting.default, Mapping) else show_value(setting.default, setting.unit)
        default = f"`{shown}`" if shown else ""
    also = f" Also `{'`, `'.join(setting.keys[1:])}`." if setting.also else ""
    cells = (f"`{setting.keys[0]}`", _kind(setting.annotation, setting.unit), default, setting.help + also)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def reference() -> str:
    """The page in Markdown."""
    lines = [_HEAD]
    group = None
    for setting in all_settings():
        here = setting.path[0] if len(setting.path) > 1 else ""
        if here != group:
            group = here
            lines.append(f"\n## {(here or 'general').replace('_', ' ')}\n")
            lines.append("| key | kind | default | what it does |")
            lines.append("|---|---|---|---|")
        lines.append(_row(setting))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).parent.mkdir(parents=True, exist_ok=True)
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
