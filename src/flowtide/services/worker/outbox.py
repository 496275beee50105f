"""What a worker reports: messages come in from running attempts, and go to the log in batches, in order.

End reports are written at once together with all that waits before them; log lines alone wait a moment for company.
The state is the queue.  An unreachable log is tried again until the outbox is closed; nothing is dropped meanwhile,
and `drain` makes the writers wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from flowtide.errors import LogUnavailable, MessageTooLarge
from flowtide.log.port import Log, Message

_LINGER: Final = timedelta(milliseconds=50)
_BATCH_MESSAGES: Final = 1_000
_BATCH_BYTES: Final = 4 * 1024 * 1024
_CAPACITY: Final = 5_000  # messages that wait before writers are held up
_RETRY_FIRST_SECONDS: Final = 0.05
_RETRY_LONGEST_SECONDS: Final = 2.0


class Outbox:
    """The messages of one worker on their way to the log; built and run on the event loop's thread."""

    def __init__(self, log: Log, *, on_too_large: Callable[[Message], Message | None]) -> None:
        """`on_too_large` gives what is written in place of a message beyond the log's limit; None: nothing."""
        self._log = log
        self._on_too_large = on_too_large
        self._queue: deque[Message] = deque()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._linger: asyncio.TimerHandle | None = None
        self._aborted = False

    def put(self, messages: Sequence[Message], *, at_once: bool) -> None:
        """Queue messages; `at_once` does not wait for more.  To be called on the event loop's thread."""
        self._queue.extend(messages)
        self._notice(at_once)

    def put_from_thread(self, messages: Sequence[Message]) -> None:
        """Queue messages from any thread; they stand before whatever this thread's end leads to."""
        self._queue.extend(messages)
        with contextlib.suppress(RuntimeError):  # an abandoned thread may outlive the loop
            self._loop.call_soon_threadsafe(self._notice, False)

    async def drain(self) -> None:
        """Wait until there is room."""
        await self._room.wait()

    async def flushed(self) -> None:
        """Wait until all that was put is written."""
        self._wake.set()
        await self._idle.wait()

    def abort(self) -> None:
        """Forget what waits and write nothing more."""
        self._aborted = True
        self._queue.clear()
        self._room.set()
        self._idle.set()
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while not self._aborted:
            await self._wake.wait()
            self._wake.clear()
            if self._linger is not None:
                self._linger.cancel()
                self._linger = None
            while self._queue and not self._aborted:
                await self._write(self._next_batch())
                if len(self._queue) < _CAPACITY:
                    self._room.set()
            if not self._queue:
                self._idle.set()

    def _notice(self, at_once: bool) -> None:
        if self._aborted:
            self._queue.clear()
            return
        if not self._queue:
            return  # written meanwhile
        self._idle.clear()
        if len(self._queue) >= _CAPACITY:
            self._room.clear()
        if at_once or len(self._queue) >= _BATCH_MESSAGES:
            self._wake.set()
        elif self._linger is None:
            self._linger = self._loop.call_later(_LINGER.total_seconds(), self._wake.set)

    def _next_batch(self) -> list[Message]:
        batch: list[Message] = []
        size = 0
        while self._queue and len(batch) < _BATCH_MESSAGES and size < _BATCH_BYTES:
            message = self._queue.popleft()
            batch.append(message)
            size += len(message.value or b"")
        return batch

    async def _write(self, batch: Sequence[Message]) -> None:
        delay = _RETRY_FIRST_SECONDS
        while not self._aborted:
            try:
                await self._log.append(batch)
                return
            except MessageTooLarge:
                if len(batch) > 1:
                    for message in batch:
                        await self._write([message])
                    return
                replacement = self._on_too_large(batch[0])
                if replacement is None or replacement.value == batch[0].value:
                    return
                batch = [replacement]
            except LogUnavailable:
                await asyncio.sleep(delay)
                delay = min(delay * 2, _RETRY_LONGEST_SECONDS)
