"""Versions of plugins: which one is installed, and whether a flow that pins one can have it (TSK-12, page 470).

One version of each package of plugins is installed at a time, so a pin is a check and not a choice.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import metadata

from flowtide.model.plugin import Plugin

_WHATEVER_IS_THERE = frozenset({"LATEST", "OLDEST", "CURRENT", "NONE"})


def refused_version(plugin: Plugin, wanted: str | None) -> str | None:
    """The version that is installed instead of the one that is wanted; None when the wanted one is there."""
    if wanted is None or wanted.strip().upper() in _WHATEVER_IS_THERE:
        return None
    installed = installed_version(type(plugin))
    return None if wanted.strip().removeprefix("v") == installed else installed


def installed_version(plugin: type[Plugin]) -> str:
    """The version of the package that a plugin comes from; "unknown" for a class that belongs to none."""
    return _version_of(plugin.__module__.partition(".")[0])


@cache
def _version_of(package: str) -> str:
    version = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(version, str):
        return version
    names = metadata.packages_distributions().get(package, ())
    return metadata.version(names[0]) if names else "unknown"
