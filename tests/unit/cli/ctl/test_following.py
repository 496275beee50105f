"""Waiting for an execution: what is told meanwhile, and how its end becomes an exit code."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flowtide.cli.ctl.following import Document, Lines, _until, exit_code


def _execution(state: str, **runs: str) -> dict[str, Any]:
    return {
        "id": "e1",
        "namespace": "tests",
        "flowId": "hello",
        "state": {"current": state},
        "taskRunList": [
            {"id": task, "taskId": task, "state": {"current": current}} for task, current in runs.items()
        ],
    }


def test_each_end_is_told_once() -> None:
    """A task run when it ends, the execution when its state changes."""
    lines = Lines()

    told = [
        [line.split() for line in lines.news(each)]
        for each in (
            _execution("RUNNING", a="RUNNING"),
            _execution("RUNNING", a="SUCCESS", b="RUNNING"),
            _execution("FAILED", a="SUCCESS", b="FAILED"),
        )
    ]

    names = [[[word for word in line if not word.startswith("\x1b")][-1] for line in each] for each in told]
    assert names == [["e1"], ["a"], ["b", "e1"]]


@pytest.mark.parametrize(
    ("state", "code"),
    [("SUCCESS", 0), ("WARNING", 0), ("FAILED", 1), ("KILLED", 3), ("CANCELLED", 3)],
)
def test_the_end_is_the_exit_code(state: str, code: int) -> None:
    """As `flowtide run` has it."""
    assert exit_code(state) == code


def test_waiting_ends_in_time_though_nothing_comes() -> None:
    """What came is given; a stream that is silent then does not hold the caller."""
    silent = threading.Event()

    def stream() -> Iterator[Document]:
        yield _execution("RUNNING")
        silent.wait()

    try:
        found = list(_until(time.monotonic() + 0.2, stream))
    finally:
        silent.set()

    assert [each["id"] for each in found] == ["e1"]


def test_a_failure_of_the_stream_is_the_callers() -> None:
    """It is raised where the waiting is, not in the thread that reads."""

    def stream() -> Iterator[Document]:
        yield _execution("RUNNING")
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(_until(time.monotonic() + 60, stream))
