"""What others may import is named on purpose, and exists."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

import pytest

from flowtide.services.plugins import GROUPS

#: Packages whose names plugin authors and the outer layers use; each names them in `__all__`.
PUBLIC = ("flowtide", "flowtide.settings", "flowtide.telemetry")

EXPORTED = {
    "flowtide": ["__version__"],
    "flowtide.settings": [
        "LogFormat",
        "QueueType",
        "RepositoryType",
        "RestartStrategy",
        "Rotation",
        "Settings",
        "SettingsError",
        "TraceLevel",
        "kafka_client_properties",
    ],
    "flowtide.telemetry": [
        "METRICS",
        "Metric",
        "MetricKind",
        "Metrics",
        "SuppressedLoggers",
        "Tracing",
        "configure_logging",
        "configure_tracing",
        "execution_levels",
        "get_logger",
    ],
}


def exported(package: str) -> list[str]:
    """The names in `__all__`; each of them exists."""
    module = importlib.import_module(package)
    names: list[str] = module.__all__
    missing = [name for name in names if not hasattr(module, name)]
    assert missing == [], f"{package} exports what it does not have"
    return sorted(names)


@pytest.mark.parametrize("package", PUBLIC)
def test_exports_are_pinned(package: str) -> None:
    """A name that appears or vanishes changes this file too."""
    assert exported(package) == sorted(EXPORTED[package])


def test_entry_points_load() -> None:
    """Every plugin that the installed package names can be loaded."""
    broken = {}
    for group in GROUPS:
        for point in entry_points(group=group):
            if point.dist is not None and point.dist.name == "flowtide":
                try:
                    point.load()
                except (ImportError, AttributeError) as error:
                    broken[point.name] = str(error)
    assert broken == {}
