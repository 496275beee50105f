"""The simulator in small: seeds that must pass, and systems broken on purpose, which the checks must notice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from flowtide.log.port import Consumer
from flowtide.processors.runtime import Runtime
from tests.simulation.system import Simulation

SEEDS = int(os.environ.get("FLOWTIDE_SIMULATION_SEEDS", "60"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_fault_breaks_the_system() -> None:
    """Executions, task runs, schedules, slots and the index come out right, whatever crashes; kept seeds included."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", str(SEEDS), "--steps", "30"]
    played = subprocess.run(command, capture_output=True, text=True, check=False)
    assert played.returncode == 0, played.stdout + played.stderr


class _Altered(Consumer):
    """A consumer whose commits are changed before they are made."""

    def __init__(self, inner: Consumer, change: Callable[[dict[str, Any]], None]) -> None:
        self._inner = inner
        self._change = change

    async def poll(self, **arguments: Any) -> Any:
        return await self._inner.poll(**arguments)

    async def commit(self, **arguments: Any) -> None:
        self._change(arguments)
        await self._inner.commit(**arguments)

    def pause(self, partitions: Any) -> None:
        self._inner.pause(partitions)

    def resume(self, partitions: Any) -> None:
        self._inner.resume(partitions)

    async def close(self) -> None:
        await self._inner.close()


def broken_by(group: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Runtime], None]:
    """Runtimes of a group whose commits are changed."""

    def alter(runtime: Runtime) -> None:
        if runtime._group != group:
            return
        log: Any = runtime._log
        join = log.consumer

        class Log:
            def __getattr__(self, name: str) -> Any:
                return getattr(log, name)

            async def consumer(self, **arguments: Any) -> Consumer:
                return _Altered(await join(**arguments), change)

        runtime._log = Log()  # type: ignore[assignment]  # it quacks like one

    return alter


def forget_position(commit: dict[str, Any]) -> None:
    """A commit that does not move the position: what was decided is decided again after a restart."""
    commit["positions"] = {}


def forget_state(commit: dict[str, Any]) -> None:
    """A commit without the changed pieces of state."""
    commit["changes"] = ()


def forget_messages(commit: dict[str, Any]) -> None:
    """A commit that loses the last thing that is sent."""
    commit["messages"] = list(commit["messages"])[:-1]


def forget_commands(commit: dict[str, Any]) -> None:
    """A commit that loses the executions that it asks for."""
    commit["messages"] = [each for each in commit["messages"] if each.topic != "execution_commands"]


def say_twice(commit: dict[str, Any]) -> None:
    """A commit that sends everything twice."""
    commit["messages"] = [*commit["messages"], *commit["messages"]]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("group", "change"),
    [
        ("executor", forget_position),
        ("executor", forget_state),
        ("executor", forget_messages),
        ("executor", say_twice),
        ("flows", forget_messages),
        ("triggers", forget_state),
        ("triggers", forget_commands),
    ],
)
def test_a_system_that_is_broken_on_purpose_is_noticed(
    group: str, change: Callable[[dict[str, Any]], None]
) -> None:
    """The checks see each of these defects within a few seeds."""
    for seed in range(1, 13):
        try:
            Simulation(seed, 25, alter=broken_by(group, change)).run()
        except Exception:
            return
    raise AssertionError(f"nobody noticed that the processor {group} has the defect {change.__name__}")
