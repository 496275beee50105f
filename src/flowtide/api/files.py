"""Files of executions: a stored URI in, its bytes or its size out (FIL-04: an execution's own files only)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.keys import INDEX, LIVE_VIEW, PLATFORMS, STORAGE
from flowtide.api.parameters import segment, tenant
from flowtide.api.problems import Problem, not_found
from flowtide.log.keys import ExecutionKey
from flowtide.model.services import ServiceType
from flowtide.storage import ExecutionFolder

_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})")


async def download(request: web.Request) -> web.StreamResponse:
    """The bytes of a file that the execution may read, as an attachment; a part of it by `Range`."""
    uri = await readable_uri(request)
    size = await request.app[STORAGE].size(tenant(request), uri)
    return await send_stored(request, uri, size, quote(uri.rpartition("/")[2], safe="%"))


async def send_stored(request: web.Request, uri: str, size: int, name: str) -> web.StreamResponse:
    """Answer with a stored file, or the part that `Range` and `If-Range` ask for; 304 when the client has it.

    `name` is that of the attachment, percent-encoded.  HEAD has all but the bytes.  Raises Problem 416.
    """
    owner, storage = tenant(request), request.app[STORAGE]
    entity = f'"{await storage.version(owner, uri)}"'
    if _names(request.headers.get("If-None-Match"), entity):
        return web.Response(status=304, headers={"ETag": entity})
    changed = request.headers.get("If-Range", entity).strip() != entity  # also by its date, which is not told
    wanted = range(size) if changed else _range(request, size)
    headers = {
        "ETag": entity,
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        "Content-Length": str(len(wanted)),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    is_part = len(wanted) != size
    if is_part:
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
    response = web.StreamResponse(status=206 if is_part else 200, headers=headers)
    await response.prepare(request)
    if request.method != "HEAD":
        async for chunk in storage.stream(owner, uri, first=wanted.start, length=len(wanted)):
            await response.write(chunk)
    await response.write_eof()
    return response


def _names(header: str | None, entity: str) -> bool:
    """Whether a list of entity tags has this one, compared weakly (RFC 9110, 13.1.2)."""
    given = [each.strip().removeprefix("W/") for each in (header or "").split(",")]
    return entity in given or given == ["*"]


def _range(request: web.Request, size: int) -> range:
    """The bytes that the header `Range` asks for, all of them without one.  Raises Problem 416.

    One range is served; what asks for several, or is no range of bytes, gets the whole file (RFC 9110, 14.2).
    """
    match = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if match is None or not (match["first"] or match["last"]):
        return range(size)
    if match["first"]:
        first = int(match["first"])
        last = min(int(match["last"]), size - 1) if match["last"] else size - 1
        if match["last"] and int(match["last"]) < first:
            return range(size)
    else:
        first, last = max(0, size - int(match["last"])), size - 1
    if first > last:
        raise Problem(416, f"the file has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return range(first, last + 1)


async def metadata(request: web.Request) -> web.StreamResponse:
    """The size of a file that the execution may read."""
    owner = tenant(request)
    uri = await readable_uri(request)
    return json_answer({"size": await request.app[STORAGE].size(owner, uri)})


async def readable_uri(request: web.Request) -> str:
    """The URI of a stored file that is asked for, and that the execution of the path may read.

    Raises Problem 404, 422; FileForbidden, FileMissing, StorageUriInvalid.
    """
    key = ExecutionKey(tenant(request), segment(request, "executionId"))
    uri = request.query.get("path")
    if not uri:
        raise Problem(422, "`path` must be the URI of a stored file")
    header: dict[str, Any] | None = None
    live = request.app[LIVE_VIEW].get(key)
    if live is not None:
        header = live.header
    else:
        found = await request.app[INDEX].get("executions", key.tenant, key.execution_id)
        header = None if found is None else found.document
    if header is None:
        raise not_found(f"the execution {key.execution_id}")
    folder = ExecutionFolder(
        namespace=header["namespace"], flow_id=header["flowId"], execution_id=key.execution_id
    )
    parent = header.get("parentId")
    platforms = request.app[PLATFORMS]
    if uri.startswith("nsfile://"):
        await platforms.fresh()
    ancestors = () if parent is None else (parent,)
    located = platforms.readable_files(key.tenant, folder, ancestors, service=ServiceType.WEBSERVER).locate(
        uri, plain=False
    )
    if located.uri is None:
        raise Problem(403, "files of the host cannot be seen over the API")
    return located.uri
