"""Options that every command has (CLI-2): what was given on the command line in, settings and a log out."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from flowtide.settings import Settings
    from flowtide.telemetry import Metrics

Command = TypeVar("Command", bound=Callable[..., Any])

LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_VERBOSE = {0: None, 1: "DEBUG"}


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """The common options as they were given."""

    verbosity: int = 0
    log_level: str | None = None
    internal_log: bool = False
    files: tuple[Path, ...] = ()
    plugins: Path | None = None

    @property
    def level(self) -> str | None:
        """The level of the server's log; None: as usual."""
        return self.log_level or _VERBOSE.get(self.verbosity, "TRACE")

    def settings(self, overrides: Mapping[str, Any] = _NOTHING) -> Settings:
        """The settings in force, with the plugins' folder on Python's path.  Raises SettingsError."""
        from flowtide.settings import Settings, SettingsError

        given = dict(overrides)
        if self.plugins is not None:
            given["plugins.path"] = str(self.plugins)
        settings = Settings.load(self.files, overrides=given)
        folder = settings.plugins.path
        if folder is not None:
            if not folder.is_dir():
                raise SettingsError([f"`plugins.path`: there is no folder {folder}"])
            if str(folder) not in sys.path:
                sys.path.append(str(folder))
        return settings

    def configure_logging(
        self, settings: Settings, *, metrics: Metrics | None = None, default: str | None = None
    ) -> None:
        """Write the log to standard error, its lines counted in `metrics`; `default` is the level otherwise."""
        import logging

        from flowtide.settings import SettingsError
        from flowtide.telemetry import configure_logging

        count = None
        if metrics is not None:
            counted = metrics

            def count(level: str) -> None:
                counted.counter("logback.events", level).add()

        level = self.level or default
        # It logs a trace for every attempt to reach a cluster that is away; our own line says it once.
        logging.getLogger("elastic_transport").setLevel(logging.ERROR)
        try:
            configure_logging(settings, level=level, count=count)
        except ValueError as error:
            raise SettingsError([f"`logger.levels`: {error}"]) from None
        if self.internal_log and level is not None:
            from flowtide.telemetry.logs import level_number

            logging.getLogger().setLevel(level_number(level))


def common_options(command: Command) -> Command:
    """Add the common options; the command gets an `Invocation` as its first argument."""

    @functools.wraps(command)
    def called(
        *arguments: Any,
        verbose: int,
        log_level: str | None,
        internal_log: bool,
        config: tuple[Path, ...],
        plugins: Path | None,
        **given: Any,
    ) -> Any:
        invocation = Invocation(
            verbosity=verbose,
            log_level=log_level,
            internal_log=internal_log,
            files=config,
            plugins=plugins,
        )
        return command(invocation, *arguments, **given)

    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    folder = click.Path(exists=True, file_okay=False, path_type=Path)
    for option in (
        click.option("--internal-log", is_flag=True, help="Apply the level to the logs of libraries as well."),
        click.option(
            "-l", "--log-level", type=click.Choice(LEVELS, case_sensitive=False), help="Level of the log."
        ),
        click.option("-v", "--verbose", count=True, help="Log more: -v for DEBUG, -vv for TRACE."),
        click.option(
            "-p", "--plugins", type=folder,
            help="Folder with Python packages of plugins (pip install --target FOLDER ...).",
        ),
        click.option(
            "-c", "--config", type=file, multiple=True,
            help="File of settings; may be given again, the last one wins. Default: the one in the home folder.",
        ),
    ):  # fmt: skip  # a table
        called = option(called)
    return called  # type: ignore[return-value]  # the same command, with other parameters
