"""Bytes of a process's output come in as they are written, lines of text go out; memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

PIECE_BYTES: Final = 32 * 1024  # of an ordinary line; the rest follows as another line
_PROTOCOL_BYTES: Final = 8 * 1024 * 1024  # of a line that begins as one of the output protocol does
_PROTOCOL_START: Final = b"::{"


class LineSplitter:
    """Splits one stream.  What is not UTF-8 becomes replacement characters."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer that are known to hold no line feed

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The lines that are complete, without their line feeds; to be consumed before the next call."""
        self._buffer += chunk
        start = 0
        while True:
            end = self._buffer.find(b"\n", max(start, self._searched))
            if end < 0:
                break
            yield from self._pieces(bytes(self._buffer[start:end]))
            start = end + 1
            self._searched = 0
        del self._buffer[:start]
        self._searched = len(self._buffer)
        limit = _PROTOCOL_BYTES if self._buffer.startswith(_PROTOCOL_START) else PIECE_BYTES
        if len(self._buffer) > limit:
            line = bytes(self._buffer)
            self._buffer.clear()
            self._searched = 0
            yield from self._pieces(line)

    def flush(self) -> Iterator[str]:
        """What stands after the last line feed."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        if rest:
            yield from self._pieces(rest)

    def _pieces(self, line: bytes) -> Iterator[str]:
        line = line.removesuffix(b"\r")
        if len(line) <= PIECE_BYTES or (line.startswith(_PROTOCOL_START) and line.rstrip().endswith(b"}::")):
            yield line.decode("utf-8", "replace")
            return
        for start in range(0, len(line), PIECE_BYTES):
            yield line[start : start + PIECE_BYTES].decode("utf-8", "replace")
