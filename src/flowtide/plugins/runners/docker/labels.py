"""The labels of a container: by them people find it, and workers what another worker left behind (C K10)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import psutil

OWNER: Final = "flowtide.io/owner"  # the worker's process: where it is, its id, when it began
DETACHED: Final = "flowtide.io/detached"  # of `wait: false`: nobody waits for its end
KEPT: Final = "flowtide.io/kept"  # of `delete: false`: it stays when it has ended
_PREFIX: Final = "kestra.io/"
_LONGEST_CHARACTERS: Final = 63
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE: Final = "/proc/self/ns/pid"


def labels(names: Mapping[str, str], *, detached: bool, kept: bool) -> dict[str, str]:
    """All labels of a container; `names` are those of flow, execution and task run."""
    found = {f"{_PREFIX}{name}": _value(value) for name, value in names.items()}
    found[OWNER] = this_process()
    if detached:
        found[DETACHED] = "true"
    if kept:
        found[KEPT] = "true"
    return found


def is_of(found: Mapping[str, str], *, execution_id: str, task_run_id: str) -> bool:
    """Whether a container runs, or ran, an attempt of this task run."""
    return found.get(f"{_PREFIX}taskrun-id") == _value(task_run_id) and found.get(
        f"{_PREFIX}execution-id"
    ) == _value(execution_id)


@cache
def this_process() -> str:
    """This process, so that another one can tell whether it still lives.  Reads files."""
    return f"{_surroundings()}/{os.getpid()}/{_started(os.getpid())}"


def is_gone(process: str) -> bool:
    """Whether a process that `this_process` named has ended; of other surroundings nothing is known.  Reads files."""
    surroundings, _, rest = process.partition("/")
    number, _, started = rest.partition("/")
    if surroundings != _surroundings() or not number.isdigit():
        return False
    return _started(int(number)) != started


@cache
def _surroundings() -> str:
    """Where a process id means the same process: a host since its start, and a namespace of process ids."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # only Linux has these two
        parts.append(_BOOT.read_text().strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink(_NAMESPACE))
    return ",".join(parts).replace("/", "_")


def _started(process_id: int) -> str | None:
    """When a process began, by a clock that nobody sets; None when there is none."""
    with contextlib.suppress(OSError):
        # The name of the program, in brackets, may hold spaces; the start is the 22nd field.
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[19]
    if Path("/proc/self/stat").exists():
        return None
    try:
        return str(int(psutil.Process(process_id).create_time()))
    except psutil.Error:
        return None


def _value(text: str) -> str:
    return text[:_LONGEST_CHARACTERS].rstrip("-_.")
