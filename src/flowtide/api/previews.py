"""Previews of stored files: the beginning of a file comes in, rows or text for people go out (OUT-06)."""

from __future__ import annotations

import asyncio
import base64
import csv
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.files import readable_uri
from flowtide.api.keys import SITE, STORAGE
from flowtide.api.parameters import integer, tenant
from flowtide.api.problems import Problem
from flowtide.errors import FlowtideError
from flowtide.expressions import parse_ion

_LONGEST_LINE_BYTES: Final = 1024 * 1024
_LARGEST_TEXT_BYTES: Final = 10 * 1024 * 1024
_LARGEST_IMAGE_BYTES: Final = 10 * 1024 * 1024
_IMAGES: Final = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "bmp"})


async def preview(request: web.Request) -> web.StreamResponse:
    """The beginning of a file of an execution, as rows where it has rows."""
    uri = await readable_uri(request)
    site = request.app[SITE]
    rows = integer(request, "maxRows", least=1) or site.preview_initial_rows
    encoding = request.query.get("encoding") or "UTF-8"
    try:
        b"".decode(encoding)
    except LookupError:
        raise Problem(422, f"the encoding `{encoding[:50]}` is not known") from None
    extension = uri.rpartition("/")[2].rpartition(".")[2].lower() if "." in uri.rpartition("/")[2] else ""
    storage = request.app[STORAGE].blocking
    owner = tenant(request)

    def read() -> dict[str, Any]:
        with storage.opened(owner, uri) as source:
            return shown(source, extension, min(rows, site.preview_max_rows), encoding)

    return json_answer(await asyncio.to_thread(read))


def shown(source: BinaryIO, extension: str, rows: int, encoding: str) -> dict[str, Any]:
    """What people see of a file: {extension, type, content, truncated}."""
    if extension in _IMAGES or extension == "pdf":
        content = source.read(_LARGEST_IMAGE_BYTES + 1)
        truncated = len(content) > _LARGEST_IMAGE_BYTES
        kind = "PDF" if extension == "pdf" else "IMAGE"
        return _answer(extension, kind, "" if truncated else base64.b64encode(content).decode(), truncated)
    lines = _Lines(source, encoding)
    if extension in ("ion", "csv", "jsonl", "ndjson"):
        taken: list[Any] = []
        try:
            for row in _rows(lines, extension):
                if len(taken) >= rows:
                    return _answer(extension, "LIST", taken, True)
                taken.append(row)
        except (FlowtideError, ValueError, csv.Error):
            source.seek(0)  # it is not what its name says: shown as the text that it is
            lines = _Lines(source, encoding)
        else:
            return _answer(extension, "LIST", taken, lines.cut)
    text: list[str] = []
    size = 0
    for line in lines:
        if len(text) >= rows or size > _LARGEST_TEXT_BYTES:
            return _answer(extension, "MARKDOWN" if extension == "md" else "TEXT", "".join(text), True)
        text.append(line)
        size += len(line)
    return _answer(extension, "MARKDOWN" if extension == "md" else "TEXT", "".join(text), lines.cut)


class _Lines:
    """The lines of a file; one that is too long is cut, which `cut` tells."""

    def __init__(self, source: BinaryIO, encoding: str) -> None:
        self._source = source
        self._encoding = encoding
        self.cut = False

    def __iter__(self) -> Iterator[str]:
        while line := self._source.readline(_LONGEST_LINE_BYTES):
            if len(line) == _LONGEST_LINE_BYTES and not line.endswith(b"\n"):
                self.cut = True
                yield line.decode(self._encoding, "replace")
                return
            yield line.decode(self._encoding, "replace")


def _rows(lines: _Lines, extension: str) -> Iterator[Any]:
    if extension == "csv":
        yield from csv.DictReader(lines)
        return
    for line in lines:
        if line.strip():
            yield parse_ion(line) if extension == "ion" else json.loads(line)


def _answer(extension: str, kind: str, content: Any, truncated: bool) -> dict[str, Any]:
    return {"extension": extension, "type": kind, "content": content, "truncated": truncated}
