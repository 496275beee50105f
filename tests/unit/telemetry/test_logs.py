"""The server's log: shapes, levels and Kestra's logger names."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from flowtide.settings import Settings
from flowtide.telemetry import configure_logging, execution_levels, get_logger
from flowtide.telemetry.logs import OFF, TRACE, level_number, logger_name, set_level


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """The standard library's loggers are shared by the process; what a test sets is taken back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {
        name: logging.getLogger(name).level for name in ("flowtide", "flowtide.processors", "flowtide.api")
    }
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def settings(**logger: Any) -> Settings:
    """Settings with that logger group."""
    return Settings.load((), {}, {f"logger.{name}": value for name, value in logger.items()})


def logged(shape: str) -> dict[str, Any]:
    """What one line with a field and an exception looks like in that shape."""
    stream = io.StringIO()
    configure_logging(settings(format=shape), stream=stream)
    try:
        raise ValueError("broken")
    except ValueError:
        get_logger("flowtide.api").exception("failed", port=8080)
    line: dict[str, Any] = json.loads(stream.getvalue())
    return line


def test_json() -> None:
    """JSON: time, level, logger, message, the fields, the exception."""
    line = logged("json")
    assert (line["level"], line["logger"], line["message"], line["port"]) == (
        "ERROR",
        "flowtide.api",
        "failed",
        8080,
    )
    assert "ValueError: broken" in line["exception"]
    assert line["timestamp"].endswith("Z")


def test_ecs() -> None:
    """ECS: Elastic's field names, other fields as labels."""
    line = logged("ecs")
    assert (line["log.level"], line["log.logger"], line["message"]) == ("ERROR", "flowtide.api", "failed")
    assert line["labels"] == {"port": "8080"}
    assert "ValueError: broken" in line["error.stack_trace"]
    assert line["@timestamp"].endswith("Z")


def test_gcp() -> None:
    """Google Cloud: severity, and the exception as part of the message."""
    line = logged("gcp")
    assert (line["severity"], line["port"]) == ("ERROR", 8080)
    assert line["message"].startswith("failed\nTraceback")


def test_plain_and_levels() -> None:
    """Plain lines are for people; levels follow Kestra's names, and lines are counted."""
    stream, levels = io.StringIO(), list[str]()
    configured = Settings.load(
        (), {"FLOWTIDE_CONFIGURATION": "logger.levels: {io.kestra.core.runners: ERROR}"}
    )
    configure_logging(configured, stream=stream, count=levels.append)
    get_logger("flowtide.processors").info("hidden")
    get_logger("flowtide.api").info("started", port=8080, path="a b")
    logging.getLogger("flowtide.api").warning("from a library %s", 1)
    first, second = stream.getvalue().splitlines()
    assert first.endswith("INFO  flowtide.api started port=8080 path='a b'")
    assert second.endswith("WARNING flowtide.api from a library 1")
    assert levels == ["info", "warning"]


def test_configuring_again_replaces() -> None:
    """The last call wins; lines are not written twice."""
    first, second = io.StringIO(), io.StringIO()
    configure_logging(settings(), stream=first)
    configure_logging(settings(), stream=second, level="ERROR")
    logging.getLogger("flowtide.api").error("once")
    logging.getLogger("flowtide.api").info("not at all")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


def test_level_at_run_time() -> None:
    """A level can be changed under Kestra's name and taken back (MGMT-6)."""
    set_level("io.kestra.webserver", "TRACE")
    assert logging.getLogger("flowtide.api").level == TRACE
    set_level("io.kestra.webserver", None)
    assert logging.getLogger("flowtide.api").level == logging.NOTSET
    with pytest.raises(ValueError, match="loud is no log level"):
        set_level("io.kestra", "loud")


def test_names_and_levels() -> None:
    """The longest beginning of a Kestra name wins, others stay; an unquoted OFF, false, is OFF."""
    assert logger_name("io.kestra.core.runners.Executor") == "flowtide.processors.executions"
    assert logger_name("io.kestra.core.unheard.Of") == "flowtide"
    assert logger_name("org.apache.kafka.clients") == "flowtide.log.kafka"
    assert logger_name("aiohttp.access") == "aiohttp.access"
    assert (level_number("OFF"), level_number(False), level_number("warn")) == (OFF, OFF, logging.WARNING)


def test_levels_of_executions() -> None:
    """The narrowest of `task`, `task.FLOW`, `task.FLOW.TASK` decides what is kept (LOG-2, LOG-3)."""
    levels = execution_levels(
        Settings.load(
            (),
            {"FLOWTIDE_CONFIGURATION": "logger.levels: {task: OFF, task.noisy: WARN, task.noisy.one: TRACE}"},
        )
    )
    assert levels.level("task", "other", "any") == OFF
    assert levels.level("task", "noisy", "two") == logging.WARNING
    assert levels.level("task", "noisy", "one") == TRACE
    assert levels.level("execution", "noisy") == TRACE
