"""An open-loop load generator: requests leave at their own times, whether or not earlier ones were answered.

In come an address and a plan of how many requests leave per second; out go the answers' codes and how long each took.
It speaks HTTP/1.1 over kept connections with as little work as possible, because it shares the machine with the server.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Answers:
    """What came back."""

    codes: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # from the moment a request was due to its answer
    began: float = 0.0  # seconds since the epoch
    ended: float = 0.0


class _Connection(asyncio.Protocol):
    """One kept connection: a request at a time."""

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        self._due = 0.0
        self._head = b""
        self._missing = -1
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was due at `due`."""
        assert self.transport is not None
        self._due = due
        self._head = b""
        self._missing = -1
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            length = 0
            for line in self._head[:end].split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
            self._missing = length - (len(self._head) - end - 4)
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            self._pool.answered(self, int(self._head[9:12]), self._due)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)


class _Pool:
    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.idle: deque[_Connection] = deque()
        self.waiting: deque[tuple[bytes, float]] = deque()
        self.open = 0
        self.outstanding = 0
        self.finished = asyncio.Event()
        self.expected = 0
        self.closing = False

    def send(self, request: bytes, due: float) -> None:
        self.outstanding += 1
        if self.idle:
            self.idle.popleft().send(request, due)
        else:
            self.waiting.append((request, due))

    def answered(self, connection: _Connection, code: int, due: float) -> None:
        self.outstanding -= 1
        self.answers.codes[code] += 1
        self.answers.seconds.append(time.perf_counter() - due)
        if self.waiting:
            connection.send(*self.waiting.popleft())
        else:
            self.idle.append(connection)
        if len(self.answers.seconds) == self.expected:
            self.finished.set()

    def lost(self, connection: _Connection) -> None:
        if not self.closing:
            self.open -= 1
            if connection in self.idle:
                self.idle.remove(connection)


async def fire(
    host: str,
    port: int,
    request: bytes | Callable[[int], bytes],
    *,
    count: int,
    rate: float | None,
    connections: int = 64,
) -> Answers:
    """Send `count` requests, `rate` per second (None: all at once), and wait for all answers.

    `request` is the same each time, or made from its number.  Raises TimeoutError when the last answers do not come
    within two minutes.
    """
    answers = Answers()
    pool = _Pool(answers)
    pool.expected = count
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        _, connection = await loop.create_connection(lambda: _Connection(pool), host, port)
        pool.idle.append(connection)
    answers.began = time.time()
    began = time.perf_counter()
    sent = 0
    while sent < count:
        now = time.perf_counter()
        due_count = count if rate is None else min(count, int((now - began) * rate) + 1)
        while sent < due_count:
            one = request if isinstance(request, bytes) else request(sent)
            pool.send(one, now if rate is None else began + sent / rate)
            sent += 1
        if rate is not None and sent < count:
            await asyncio.sleep(max(0.0, began + sent / rate - time.perf_counter()))
    async with asyncio.timeout(120):
        await pool.finished.wait()
    answers.ended = time.time()
    pool.closing = True
    for connection in pool.idle:
        if connection.transport is not None:
            connection.transport.close()
    return answers


def webhook(host: str, port: int, path: str, body: bytes = b"") -> bytes:
    """The request that starts an execution by webhook."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n"
    if body:
        head += "Content-Type: application/json\r\n"
    return head.encode() + b"\r\n" + body


def get(host: str, port: int, path: str, authorization: str) -> bytes:
    """A GET by somebody."""
    head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: {authorization}\r\n"
    return head.encode() + b"\r\n"
