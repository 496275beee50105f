"""Settings: files, environment variables and the command line go in, one frozen `Settings` comes out.

The table of all settings is `flowtide.settings.table`; docs/reference/settings.md is generated from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from flowtide.errors import SettingsError
from flowtide.settings.kafka import kafka_client_properties
from flowtide.settings.load import load
from flowtide.settings.servers import RestartStrategy
from flowtide.settings.sources import all_settings
from flowtide.settings.systems import QueueType, RepositoryType, Rotation
from flowtide.settings.table import LogFormat, Table, TraceLevel
from flowtide.settings.values import show_value

_HIDDEN = "****"


def _spread(key: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys and values of a map in full: names fill the `*` of the key, or follow it."""
    for name, part in value.items():
        full = key.replace("*", name, 1) if "*" in key else f"{key}.{name}"
        if isinstance(part, Mapping):
            yield from _spread(full, part)
        else:
            yield full, part


_NO_OVERRIDES: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Settings(Table):
    """All settings of one process. `Settings()` is all defaults; `Settings.load` reads the real ones.

    `warnings` are sentences for the log; `files` are the files that were read.
    """

    warnings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @classmethod
    def load(
        cls,
        files: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] = _NO_OVERRIDES,
        *,
        cores: int | None = None,
    ) -> Self:
        """Read settings: files in their order, then the environment, then `overrides`; the last one wins.

        Without `files` the file in the home directory is read if there is one. `environment` is that of the
        process unless given. `overrides` maps keys (`server.port`, without the root) to values; None means
        not given. `cores` is how many the machine has, for the default number of threads (CFG-1, CFG-2,
        CFG-16). Raises SettingsError, which names every wrong value, where it stands and what is expected.
        """
        loaded = load(
            files, os.environ if environment is None else environment, overrides, cores or os.cpu_count() or 1
        )
        return cls(**loaded.values, warnings=loaded.warnings, files=loaded.files)

    @property
    def storage_path(self) -> Path:
        """The folder of files when the storage is local."""
        return self.storage.local.base_path or self.data_path / "storage"

    def properties(self) -> dict[str, str]:
        """The settings in force, by key, secrets masked (CFG-10)."""
        shown: dict[str, str] = {}
        for setting in all_settings():
            value: Any = self
            for name in setting.path:
                value = getattr(value, name)
            if isinstance(value, Mapping):
                for key, part in _spread(setting.keys[0], value):
                    shown[key] = _HIDDEN if setting.secret else show_value(part, setting.unit)
            elif value is not None:
                shown[setting.keys[0]] = _HIDDEN if setting.secret else show_value(value, setting.unit)
        return shown

    def delete_files(self) -> tuple[Path, ...]:
        """Remove the files that were read if `configurations.delete-files-on-start` asks for it (CFG-12).

        To be called once the service runs. Returns what was removed; raises OSError when a file cannot be.
        """
        if not self.configurations.delete_files_on_start:
            return ()
        for file in self.files:
            file.unlink(missing_ok=True)
        return self.files


__all__ = [
    "LogFormat",
    "QueueType",
    "RepositoryType",
    "RestartStrategy",
    "Rotation",
    "Settings",
    "SettingsError",
    "TraceLevel",
    "kafka_client_properties",
]
