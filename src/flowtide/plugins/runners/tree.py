"""Ends a process with everything that it started, also what left its process group; called from threads."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Final

import psutil

MARKER: Final = "FLOWTIDE_PROCESS"
"""The variable in the environment of a task's process, inherited by its descendants, by which they are found."""

_POLITE_SECONDS: Final = 0.4  # between SIGTERM and SIGKILL; a kill has a second in all
_ROUNDS: Final = 3  # a descendant may start another one while we look


def end_group(group: int) -> None:
    """SIGKILL what is left of a process group whose leader is not reaped yet."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def end_tree(pid: int, marker: str) -> None:
    """SIGTERM, and soon SIGKILL, to the process, its group and all descendants; returns when they are gone."""
    processes = _members(pid, marker)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGTERM)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(processes, timeout=_POLITE_SECONDS)
    for _ in range(_ROUNDS):
        end_group(pid)
        left = [process for process in {*processes, *_members(pid, marker)} if _lives(process)]
        if not left:
            return
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=0.1)
        processes = left


def _members(pid: int, marker: str) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        found[pid] = root
        found.update({child.pid: child for child in root.children(recursive=True)})
    for process in psutil.process_iter():
        if process.pid in found:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARKER) == marker:
                found[process.pid] = process
    return list(found.values())


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
