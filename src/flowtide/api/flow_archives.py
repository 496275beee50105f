"""Flows as files: ZIP archives and CSV tables of sources out, archives and YAML documents in."""

from __future__ import annotations

import asyncio
import io
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, BinaryIO

from aiohttp import web

from flowtide.api.access import authorize, authorized_namespaces
from flowtide.api.answers import json_answer
from flowtide.api.bodies import read_form
from flowtide.api.flow_bulk import named_flows
from flowtide.api.flows import documents, parse, save, wire
from flowtide.api.keys import SITE
from flowtide.api.parameters import flag
from flowtide.api.problems import Problem
from flowtide.api.searches import csv_line, csv_response, found_flows
from flowtide.errors import FlowInvalid, FlowtideError, Violation
from flowtide.services.catalog import SavedFlow

_COLUMNS = ("id", "namespace", "revision", "disabled", "description", "labels", "triggers", "updated")
_YAML = (".yml", ".yaml")
_MOST_FILES = 10_000
_LARGEST_ARCHIVE_BYTES = 256 * 1024 * 1024  # unpacked
_LARGEST_UPLOAD_BYTES = 64 * 1024 * 1024  # packed
_LARGEST_DIRECTORY_BYTES = 4 * 1024 * 1024  # of an archive: every entry in it becomes an object
_END_BYTES = 65_557  # an end record with the longest comment
_IN_MEMORY_BYTES = 8 * 1024 * 1024


# --- out ---------------------------------------------------------------------------------------------------------


async def export_by_ids(request: web.Request) -> web.StreamResponse:
    """The sources of flows as a ZIP archive."""
    return await _archive(request, await named_flows(request))


async def export_by_query(request: web.Request) -> web.StreamResponse:
    """The sources of the flows that filters find, as a ZIP archive."""
    return await _archive(request, await found_flows(request))


async def export_csv(request: web.Request) -> web.StreamResponse:
    """The flows that filters find, as CSV."""
    found = await found_flows(request)
    response = await csv_response(request, "flows.csv", _COLUMNS)
    for saved in found:
        shown = wire(saved, with_source=False)
        row: dict[str, Any] = {
            **shown,
            "labels": {label["key"]: label["value"] for label in shown.get("labels", ())},
            "triggers": [trigger.get("id") for trigger in shown.get("triggers", ())],
        }
        await response.write(csv_line([row.get(name) for name in _COLUMNS]))
    await response.write_eof()
    return response


async def _archive(request: web.Request, flows: Sequence[SavedFlow]) -> web.StreamResponse:
    sources = [
        (f"{saved.key.namespace}.{saved.key.flow_id}.yml", saved.source, saved.updated) for saved in flows
    ]
    return await send_archive(request, "flows.zip", sources)


async def send_archive(
    request: web.Request, file_name: str, sources: Sequence[tuple[str, str, datetime]]
) -> web.StreamResponse:
    """A ZIP archive of texts, each with its name and the date of its last change."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:

        def pack() -> None:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, source, updated in sources:
                    entry = zipfile.ZipInfo(name, max(updated.timetuple()[:6], (1980, 1, 1, 0, 0, 0)))
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(entry, source)
            file.seek(0)

        await asyncio.to_thread(pack)
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Disposition": f'attachment; filename="{file_name}"',
            }
        )
        await response.prepare(request)
        while chunk := await asyncio.to_thread(file.read, 256 * 1024):
            await response.write(chunk)
        await response.write_eof()
        return response


# --- in ----------------------------------------------------------------------------------------------------------


async def import_flows(request: web.Request) -> web.StreamResponse:
    """Save the flows of a ZIP archive or of a YAML file; gives the files, or places in it, that could not be.

    With `failOnError=true` nothing is saved when one of them is wrong.
    """
    fail = flag(request, "failOnError")
    sources = await uploaded_sources(request)
    authorized_namespaces(request)  # an archive without any flow that can be read asks for no namespace
    failed: list[str] = []
    flows = []
    violations: list[Violation] = []
    for place, source in sources:
        parsed = await parse(request, source)
        if parsed.flow is None:
            failed.append(place)
            violations += [
                Violation(
                    path=each.path, message=f"{place}: {each.message}", line=each.line, column=each.column
                )
                for each in parsed.violations
            ]
        else:
            authorize(request, parsed.flow.namespace)
            flows.append((place, parsed.flow, source))
    if violations and fail:
        raise FlowInvalid(violations)
    for place, flow, source in flows:
        try:
            await save(request, flow, source)
        except FlowtideError:
            if fail:
                raise
            failed.append(place)
    return json_answer(failed)


async def uploaded_sources(request: web.Request) -> list[tuple[str, str]]:
    """The YAML documents of the uploaded archive or file, each with its place.  Raises Problem 413, 422."""
    async with read_form(request, _LARGEST_UPLOAD_BYTES) as form:
        file = next((each for each in form.files if each.input_id == "fileUpload"), None)
        if file is None:
            raise Problem(422, "the form must have the file `fileUpload`")
        name = file.name.lower()
        if name.endswith(".zip"):
            return await asyncio.to_thread(_unpacked, file.content, request.app[SITE].body_limit_bytes)
        elif name.endswith(_YAML):
            content = await asyncio.to_thread(file.content.read, request.app[SITE].body_limit_bytes + 1)
            return [(str(index), each) for index, each in enumerate(documents(_text(request, content)))]
        raise Problem(422, "the file's name must end with .zip, .yml or .yaml")


def _unpacked(file: BinaryIO, limit_bytes: int) -> list[tuple[str, str]]:
    """The YAML files of an archive.  Raises Problem 413, 422."""
    found: list[tuple[str, str]] = []
    left = _LARGEST_ARCHIVE_BYTES
    try:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            entries = [each for each in archive.infolist() if each.filename.lower().endswith(_YAML)]
            if len(entries) > _MOST_FILES:
                raise Problem(413, f"an archive has at most {_MOST_FILES} flows")
            for entry in entries:
                # What the archive says of its own sizes may be wrong: the bytes are counted.
                with archive.open(entry) as source:
                    content = source.read(min(limit_bytes, left) + 1)
                if len(content) > limit_bytes or len(content) > left:
                    raise Problem(413, f"`{entry.filename[:200]}` is larger than this server takes")
                left -= len(content)
                try:
                    text = content.decode()
                except UnicodeDecodeError:
                    raise Problem(422, f"`{entry.filename[:200]}` is not UTF-8") from None
                parts = documents(text)
                for index, part in enumerate(parts):
                    place = entry.filename if len(parts) == 1 else f"{entry.filename}#{index}"
                    found.append((place, part))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, OSError) as error:
        raise Problem(422, f"the file is not a ZIP archive that can be read: {str(error)[:200]}") from None
    return found


def _check_directory(file: BinaryIO) -> None:
    """Look at the size of an archive's directory before it is read.  Raises Problem 413, 422.

    The end record says it in 4 bytes, 12 after its mark; an archive that needs more of them is too large by far.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END_BYTES))
    end = file.read(_END_BYTES)
    at = end.rfind(b"PK\x05\x06")
    file.seek(0)
    if at < 0 or len(end) < at + 16:
        raise Problem(422, "the file is not a ZIP archive: it has no directory")
    if int.from_bytes(end[at + 12 : at + 16], "little") > _LARGEST_DIRECTORY_BYTES:
        raise Problem(413, "the archive has too many entries")


def _text(request: web.Request, content: bytes) -> str:
    if len(content) > request.app[SITE].body_limit_bytes:
        raise Problem(413, f"the file has more than {request.app[SITE].body_limit_bytes} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"the file must be UTF-8; byte {error.start} is not") from None
