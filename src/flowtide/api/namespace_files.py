"""The files of namespaces over HTTP (page 062): contents come as forms and go out as bytes, folders as JSON."""

from __future__ import annotations

import asyncio
import tempfile
import zipfile
from datetime import datetime
from typing import Any, BinaryIO, Final
from urllib.parse import quote

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.bodies import read_form
from flowtide.api.files import send_stored
from flowtide.api.keys import PLATFORMS, STORAGE
from flowtide.api.parameters import integer, segment, tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.model.platform import NamespaceFile
from flowtide.model.services import ServiceType
from flowtide.services.platform import TenantPlatform
from flowtide.services.platform.namespaces import checked_name

_PART: Final = "fileContent"
_CHUNK_BYTES: Final = 256 * 1024


async def get(request: web.Request) -> web.StreamResponse:
    """The content of a file; `revision` asks for an older one."""
    namespace, path = segment(request, "namespace"), _path(request, "path")
    request.app[PLATFORMS].isolation.check_files(ServiceType.WEBSERVER, tenant(request), namespace)
    files = _platform(request).files
    await files.find(namespace, path)  # waits for what was saved before
    revision = integer(request, "revision", least=1)
    uri = files.content_uri(namespace, path, revision)
    size = files.content_size(namespace, path, revision)
    return await send_stored(request, uri, size, quote(path.rpartition("/")[2], safe=""))


async def create(request: web.Request) -> web.StreamResponse:
    """Write a file: the part `fileContent` of a form."""
    namespace, path = checked_name(request.match_info["namespace"]), _path(request, "path")
    files = _platform(request).files
    async with read_form(request) as form:
        content: bytes | BinaryIO | None = None
        if form.files:
            content = form.files[0].content
        elif isinstance(form.values.get(_PART), str):
            content = form.values[_PART].encode()
        if content is None:
            raise Problem(422, f"the form needs the part `{_PART}` with the file")
        await files.put(namespace, path, content, by=user(request))
    return web.Response()


async def move(request: web.Request) -> web.StreamResponse:
    """Give a file or folder another path."""
    namespace = segment(request, "namespace")
    await _platform(request).files.move(
        namespace, _path(request, "from"), _path(request, "to"), by=user(request)
    )
    return web.Response()


async def delete(request: web.Request) -> web.StreamResponse:
    """Remove a file with its revisions, or a folder with all below it."""
    namespace, path = segment(request, "namespace"), _path(request, "path")
    if not await _platform(request).files.delete(namespace, path, by=user(request)):
        raise not_found(f"`{path}` in the namespace `{namespace}`")
    return web.Response()


async def list_directory(request: web.Request) -> web.StreamResponse:
    """What stands in a folder; the root by default."""
    namespace, path = segment(request, "namespace"), request.query.get("path") or "/"
    files = _platform(request).files
    if path.strip("/"):
        folder = await files.find(namespace, path)
        if folder is None or not folder.is_folder:
            raise not_found(f"the folder `{path}` in the namespace `{namespace}`")
    return json_answer([_attributes(each) for each in await files.children(namespace, path)])


async def create_directory(request: web.Request) -> web.StreamResponse:
    """Make a folder, and those above it."""
    namespace = checked_name(request.match_info["namespace"])
    await _platform(request).files.make_folder(namespace, _path(request, "path"), by=user(request))
    return web.Response()


async def stats(request: web.Request) -> web.StreamResponse:
    """What is known of a file or folder; the root is there always."""
    namespace, path = segment(request, "namespace"), request.query.get("path") or "/"
    if not path.strip("/"):
        return json_answer(
            {"fileName": "", "lastModifiedTime": 0, "creationTime": 0, "type": "Directory", "size": 0}
        )
    found = await _platform(request).files.find(namespace, path)
    if found is None:
        raise not_found(f"`{path}` in the namespace `{namespace}`")
    return json_answer(_attributes(found))


async def revisions(request: web.Request) -> web.StreamResponse:
    """The revisions of a file that can be read, the oldest first."""
    namespace, path = segment(request, "namespace"), _path(request, "path")
    found = await _platform(request).files.revisions(namespace, path)
    if not found:
        raise not_found(f"the file `{path}` in the namespace `{namespace}`")
    return json_answer([{"revision": number} for number in found])


async def search(request: web.Request) -> web.StreamResponse:
    """The paths of files that have `q` in them."""
    wanted = request.query.get("q", "").casefold()
    found = await _platform(request).files.list(segment(request, "namespace"))
    return json_answer([file.path for file in found if wanted in file.path.casefold()])


async def export(request: web.Request) -> web.StreamResponse:
    """All files of a namespace as a ZIP archive."""
    namespace = segment(request, "namespace")
    request.app[PLATFORMS].isolation.check_files(ServiceType.WEBSERVER, tenant(request), namespace)
    files = _platform(request).files
    sources = [
        (file.path, file.updated, files.content_uri(namespace, file.path))
        for file in await files.list(namespace)
    ]
    storage, owner = request.app[STORAGE].blocking, tenant(request)

    def pack() -> BinaryIO:
        archive: Any = tempfile.SpooledTemporaryFile(4 * 1024 * 1024)  # noqa: SIM115 - closed once it was sent
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path, updated, uri in sources:
                entry = zipfile.ZipInfo(path.removeprefix("/"), max(updated, _EARLIEST).timetuple()[:6])
                entry.compress_type = zipfile.ZIP_DEFLATED
                with packed.open(entry, "w") as target:
                    for chunk in storage.chunks(owner, uri):
                        target.write(chunk)
        archive.seek(0)
        return archive  # type: ignore[no-any-return]  # a file in all but name

    archive = await asyncio.to_thread(pack)
    try:
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Disposition": f'attachment; filename="{namespace}_files.zip"',
            }
        )
        await response.prepare(request)
        while chunk := await asyncio.to_thread(archive.read, _CHUNK_BYTES):
            await response.write(chunk)
        await response.write_eof()
        return response
    finally:
        archive.close()


_EARLIEST: Final = datetime.fromisoformat("1980-01-02T00:00:00Z")  # what the format can say


def _platform(request: web.Request) -> TenantPlatform:
    return request.app[PLATFORMS].of(tenant(request))


def _path(request: web.Request, name: str) -> str:
    path = request.query.get(name)
    if not path:
        raise Problem(422, f"`{name}` must be the path of a file or folder")
    return path


def _attributes(file: NamespaceFile) -> dict[str, Any]:
    return {
        "fileName": file.path.rpartition("/")[2],
        "lastModifiedTime": _milliseconds(file.updated),
        "creationTime": _milliseconds(file.created),
        "type": "Directory" if file.is_folder else "File",
        "size": file.size,
    }


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
