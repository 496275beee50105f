"""`core.runner.Process`: runs a script task as a process of the worker's host (C §19, page 378)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
from collections.abc import Callable
from typing import IO, Any, ClassVar, Final
from uuid import uuid4

from flowtide.errors import TaskFailed
from flowtide.model.runner import OutputStream, Runner, RunnerCommand, RunnerResult
from flowtide.model.task import RunContext
from flowtide.plugins.runners.lines import LineSplitter
from flowtide.plugins.runners.tree import MARKER, end_group, end_tree

_CHUNK_BYTES: Final = 64 * 1024
_LAST_OUTPUT_SECONDS: Final = 1.0  # how long a pipe may stay open after the process has ended


class Process(Runner):
    """Run on the worker's host, as the worker's user, with the worker's environment; nothing is isolated."""

    title: ClassVar[str] = "Run as a process on the worker"
    aliases: ClassVar[tuple[str, ...]] = (
        "io.kestra.core.models.tasks.runners.types.ProcessTaskRunner",
        "io.kestra.plugin.core.runner.ProcessTaskRunner",
    )
    example: ClassVar[str] = """\
id: process
namespace: company.team
tasks:
  - id: shell
    type: io.kestra.plugin.scripts.shell.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    commands:
      - echo "Hello World!"
"""

    async def run(
        self, command: RunnerCommand, context: RunContext, on_line: Callable[[OutputStream, str], None]
    ) -> RunnerResult:
        """Run to the end; a process group of its own, which is ended when this is cancelled."""
        marker = uuid4().hex
        environment = {**os.environ, **command.environment, MARKER: marker}
        # Starting blocks for as long as the system needs to fork, and a cancellation must not lose the process.
        starting = asyncio.ensure_future(asyncio.to_thread(_start, command, environment))
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            with contextlib.suppress(TaskFailed):
                started = await starting
                await asyncio.to_thread(_end, started, marker)
            raise
        assert process.stdout is not None
        assert process.stderr is not None
        pumps = [
            asyncio.ensure_future(_pump(process.stdout, "stdout", context, on_line)),
            asyncio.ensure_future(_pump(process.stderr, "stderr", context, on_line)),
        ]
        try:
            code = await _exit(process)
            # What it left running in the background would keep the pipes open, and its folder is removed next.
            _, open_pumps = await asyncio.wait(pumps, timeout=_LAST_OUTPUT_SECONDS)
            if open_pumps:
                await asyncio.to_thread(end_tree, process.pid, marker)
                await asyncio.wait(open_pumps, timeout=_LAST_OUTPUT_SECONDS)
            for pump in pumps:
                if pump.done() and not pump.cancelled():
                    pump.result()
            return RunnerResult(exit_code=code)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(_end, process, marker))
            raise
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


def _start(command: RunnerCommand, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - running what a flow says is what this is for
            list(command.arguments),
            cwd=command.working_directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        name = command.arguments[0]
        raise TaskFailed(f"the process `{name}` could not be started: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in an argument or a variable
        raise TaskFailed(f"the process could not be started: {error}") from error


def _end(process: subprocess.Popen[bytes], marker: str) -> None:
    end_tree(process.pid, marker)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1)


async def _exit(process: subprocess.Popen[bytes]) -> int:
    """Wait in a thread of its own: the shared pool would be full with as many processes as it has threads."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def settle(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    def wait() -> None:
        if hasattr(os, "waitid"):
            # Not reaped yet, its id is not given to another process while the rest of the group is ended.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                end_group(process.pid)
        code = process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, code)

    threading.Thread(target=wait, name=f"wait-{process.pid}", daemon=True).start()
    return await ended


async def _pump(
    pipe: IO[bytes], stream: OutputStream, context: RunContext, on_line: Callable[[OutputStream, str], None]
) -> None:
    reader = asyncio.StreamReader(limit=_CHUNK_BYTES)
    transport: Any
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    splitter = LineSplitter()
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            for line in splitter.feed(chunk):
                on_line(stream, line)
            await context.drain()
            await asyncio.sleep(0)  # a process that writes without end must not have the loop for itself
        for line in splitter.flush():
            on_line(stream, line)
    finally:
        transport.close()
