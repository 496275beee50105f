"""The server's log: structlog over the standard library, one line a record; plain, JSON, ECS or Google
Cloud shape.

Levels come from `logger.levels`, under Kestra's logger names or ours. The only state is the standard
library's.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from flowtide.settings import LogFormat, Settings

TRACE = 5
OFF = logging.CRITICAL + 10

_LEVELS = {
    "TRACE": TRACE,
    "ALL": TRACE,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "OFF": OFF,
    "FALSE": OFF,  # YAML reads an unquoted OFF as false (LOG-2)
}

#: Kestra's logger names by what stands for them here, the longest beginning wins (LOG-1).
_LOGGERS = {
    "io.kestra": "flowtide",
    "io.kestra.core.runners": "flowtide.processors",
    "io.kestra.core.runners.executor": "flowtide.processors.executions",
    "io.kestra.core.runners.worker": "flowtide.services.worker",
    "io.kestra.core.services": "flowtide.services",
    "io.kestra.core.storages": "flowtide.storage",
    "io.kestra.executor": "flowtide.processors.executions",
    "io.kestra.indexer": "flowtide.services.indexer",
    "io.kestra.plugin": "flowtide.plugins",
    "io.kestra.runner": "flowtide.log",
    "io.kestra.runner.kafka": "flowtide.log.kafka",
    "io.kestra.scheduler": "flowtide.services.scheduler",
    "io.kestra.webserver": "flowtide.api",
    "io.kestra.webserver.access": "flowtide.api.access",
    "io.kestra.worker": "flowtide.services.worker",
    "org.apache.kafka": "flowtide.log.kafka",
    "org.elasticsearch": "elastic_transport",
    "io.micronaut": "aiohttp",
    "root": "",
}
_SCOPES = ("execution", "task", "trigger")
_SEVERITIES = {
    "trace": "DEBUG",
    "warning": "WARNING",
    "warn": "WARNING",
    "critical": "CRITICAL",
    "exception": "ERROR",
}


def level_number(level: object) -> int:
    """The standard library's number of a level. Raises ValueError for a name that is none."""
    name = str(level).strip().upper()
    if name not in _LEVELS:
        raise ValueError(f"{level} is no log level; use TRACE, DEBUG, INFO, WARN, ERROR or OFF")
    return _LEVELS[name]


def logger_name(name: str) -> str:
    """Our logger for a name in `logger.levels`; a name that is not Kestra's stays."""
    lowered = name.lower()
    for beginning in sorted(_LOGGERS, key=len, reverse=True):
        if lowered == beginning or lowered.startswith(beginning + "."):
            return _LOGGERS[beginning]
    return name


@dataclass(frozen=True, kw_only=True)
class SuppressedLoggers:
    """The levels of the loggers of executions: `task.FLOW.TASK`, `execution.FLOW`, `trigger` (LOG-2,
    LOG-3).
    """

    levels: Mapping[str, int]

    def level(self, scope: str, *names: str) -> int:
        """The least level that is kept for `scope` (execution, task or trigger) and flow, task: the
        narrowest wins.
        """
        if not self.levels:
            return TRACE
        for count in range(len(names), -1, -1):
            found = self.levels.get(".".join((scope, *names[:count])))
            if found is not None:
                return found
        return TRACE


def execution_levels(settings: Settings) -> SuppressedLoggers:
    """The levels for what flows log, from `logger.levels`. Raises ValueError for a level that is none."""
    return SuppressedLoggers(
        levels={
            name: level_number(level)
            for name, level in settings.logger.levels.items()
            if name.split(".", 1)[0] in _SCOPES
        }
    )


def configure_logging(
    settings: Settings,
    *,
    level: str | None = None,
    stream: TextIO | None = None,
    count: Callable[[str], None] | None = None,
) -> None:
    """Set up the log of this process; may be called again, the last call wins.

    `level` is that of the command line, for all of Flowtide; `logger.levels` is narrower and wins. `stream`
    is standard error unless given. `count` is told the level of each line, for the metric `logback.events`.
    Raises ValueError for a level that is none.
    """
    logging.addLevelName(TRACE, "TRACE")
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        _library_fields,
        structlog.processors.TimeStamper(fmt="iso", utc=settings.logger.format is not LogFormat.PLAIN),
        structlog.processors.StackInfoRenderer(),
    ]
    if count is not None:
        before.append(_counting(count))
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(settings.logger.format),
        ],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("flowtide").setLevel(level_number(level or "INFO"))
    for name, wanted in settings.logger.levels.items():
        if name.split(".", 1)[0] not in _SCOPES:
            logging.getLogger(logger_name(name)).setLevel(level_number(wanted))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module (`get_logger(__name__)`); fields go as keywords: `log.info("started",
    port=8080)`.
    """
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def set_level(name: str, level: str | None) -> None:
    """Change a logger's level while running (MGMT-6); None takes it back. Raises ValueError for no level."""
    logging.getLogger(logger_name(name)).setLevel(logging.NOTSET if level is None else level_number(level))


_EXTRA = structlog.stdlib.ExtraAdder()


def _library_fields(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """What a library passed as `extra`, without what other handlers' formatters left on the record."""
    if "_record" not in event:
        return event
    event = _EXTRA(logger, name, event)
    event.pop("message", None)
    event.pop("asctime", None)
    return event


def _counting(count: Callable[[str], None]) -> Processor:
    def counted(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        count(str(event.get("level", "info")))
        return event

    return counted


def _renderers(shape: LogFormat) -> list[Processor]:
    if shape is LogFormat.PLAIN:
        return [_plain]
    errors = structlog.processors.format_exc_info
    rename = {LogFormat.JSON: _json, LogFormat.ECS: _ecs, LogFormat.GCP: _gcp}[shape]
    return [errors, rename, structlog.processors.JSONRenderer()]


def _plain(_: WrappedLogger, __: str, event: EventDict) -> str:
    """`2026-11-22T14:52:49.123456 INFO flowtide.api started port=8080`, and the exception below it."""
    when, level, name = event.pop("timestamp", ""), event.pop("level", "info"), event.pop("logger", "")
    message, error = event.pop("event", ""), event.pop("exc_info", None)
    fields = "".join(f" {key}={_quoted(value)}" for key, value in event.items())
    line = f"{when} {level.upper():<5} {name} {message}{fields}"
    if error:
        if error is True:
            error = sys.exc_info()
        elif isinstance(error, BaseException):
            error = (type(error), error, error.__traceback__)
        if error[0] is not None:
            line += (
                "\n" + structlog.processors.ExceptionRenderer()(None, "", {"exc_info": error})["exception"]
            )
    return line


def _quoted(value: Any) -> str:
    text = str(value)
    return repr(text) if not text or any(character in text for character in " \n\t\"'=") else text


def _json(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {
        "timestamp": event.pop("timestamp", None),
        "level": str(event.pop("level", "info")).upper(),
        "logger": event.pop("logger", None),
        "message": event.pop("event", ""),
        **event,
    }


def _ecs(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    result: dict[str, Any] = {
        "@timestamp": event.pop("timestamp", None),
        "log.level": str(event.pop("level", "info")).upper(),
        "log.logger": event.pop("logger", None),
        "message": event.pop("event", ""),
        "ecs.version": "8.11.0",
        "service.name": "flowtide",
    }
    if "exception" in event:
        result["error.stack_trace"] = event.pop("exception")
    if event:
        result["labels"] = {key: str(value) for key, value in event.items()}
    return result


def _gcp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    level = str(event.pop("level", "info"))
    message = event.pop("event", "")
    if "exception" in event:
        message = f"{message}\n{event.pop('exception')}"
    return {
        "time": event.pop("timestamp", None),
        "severity": _SEVERITIES.get(level, level.upper()),
        "logger": event.pop("logger", None),
        "message": message,
        **event,
    }
