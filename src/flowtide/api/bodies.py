"""Bodies of requests: bytes, text, JSON and forms in, plain values out, within limits of size, time and depth."""

from __future__ import annotations

import asyncio
import tempfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec
from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from flowtide.api.keys import NAMED, SITE, Site
from flowtide.api.problems import Problem
from flowtide.log.keys import ExecutionKey
from flowtide.storage import ExecutionFolder, Storage, input_file

_Result = TypeVar("_Result")
_FORM = "multipart/form-data"
_URLENCODED = "application/x-www-form-urlencoded"
_PLAIN_ENCODINGS = ("binary", "8bit", "7bit")
_MOST_PARTS = 1_000
_CHUNK_BYTES = 256 * 1024
_IN_MEMORY_BYTES = 1024 * 1024  # a larger file waits on disk until the form is complete
_LEAST_BYTES_PER_SECOND = 500
_DEEPEST_JSON = 200  # levels; what is deeper no template can walk through, and encoders refuse


@dataclass(frozen=True, kw_only=True)
class UploadedFile:
    """A file part of a form, to be stored once the inputs are known."""

    input_id: str
    name: str  # without folders
    content: BinaryIO


@dataclass(kw_only=True)
class Form:
    """Values of inputs by their ids, and files."""

    values: dict[str, Any] = field(default_factory=dict)
    files: list[UploadedFile] = field(default_factory=list)


async def read_body(request: web.Request, limit_bytes: int | None = None) -> bytes:
    """The whole body.  Raises Problem 413 beyond the limit, 408 when it stops arriving."""
    site = request.app[SITE]
    limit_bytes = site.body_limit_bytes if limit_bytes is None else limit_bytes
    if not request.can_read_body:
        return b""
    if (request.content_length or 0) > limit_bytes:
        raise _too_large(limit_bytes)
    if request.content.is_eof():  # it came in one piece with the head, as small ones do
        body = request.content.read_nowait()
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        return body
    chunks: list[bytes] = []
    size = 0
    pace = _Pace(site)
    while True:
        chunk = await _in_time(request.content.readany, site)
        pace.took(len(chunk))
        if not chunk:
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        size += len(chunk)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        chunks.append(chunk)


async def read_text(request: web.Request) -> str:
    """The body as text.  Raises Problem 400 when it is not UTF-8."""
    try:
        return (await read_body(request)).decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body must be UTF-8; byte {error.start} is not") from None


async def read_json(request: web.Request) -> Any:
    """The body as JSON.  Raises Problem 400 when it is none."""
    return parse_json(await read_body(request))


def parse_json(body: bytes) -> Any:
    """Read JSON.  Raises Problem 400 for what is none, or is nested too deeply to be used."""
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise Problem(400, "the JSON is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from None
    if is_deep(value):
        raise Problem(400, f"the JSON is nested deeper than {_DEEPEST_JSON} levels")
    return value


def is_deep(value: Any, levels: int = _DEEPEST_JSON) -> bool:
    """Whether a value has more levels than can be used."""
    if isinstance(value, dict):
        children = value.values()
    elif isinstance(value, list):
        children = value  # type: ignore[assignment]  # both are iterables of anything
    else:
        return False
    return levels == 0 or any(
        is_deep(child, levels - 1) for child in children if isinstance(child, dict | list)
    )


async def read_texts(request: web.Request) -> list[str]:
    """A JSON array of identifiers.  Raises Problem 400 for anything else."""
    value = await read_json(request)
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise Problem(400, "the body must be a JSON array of strings")
    if len(value) > 10_000:
        raise Problem(400, "at most 10000 things can be changed by one request")
    request[NAMED] = value
    return value


@asynccontextmanager
async def read_form(request: web.Request, file_limit_bytes: int | None = None) -> AsyncIterator[Form]:
    """Inputs as a form (EXE-06); files wait in temporary ones until the block ends.

    A part's name is the input's id.  In the former convention a file's part is called `files` and its file name is
    the input's id.  No body at all is an empty form.  A file may have `file_limit_bytes`, by default what the site
    takes.  Raises Problem 400, 408, 413, 415.
    """
    form = Form()
    site = request.app[SITE]
    if file_limit_bytes is not None:
        site = replace(site, file_limit_bytes=min(file_limit_bytes, site.file_limit_bytes))
    try:
        await _fill(form, request, site)
        yield form
    finally:
        for file in form.files:
            file.content.close()


async def store_files(form: Form, storage: Storage, key: ExecutionKey, namespace: str, flow_id: str) -> None:
    """Put the files of a form among the execution's; their URIs become the values of their inputs."""
    folder = ExecutionFolder(namespace=namespace, flow_id=flow_id, execution_id=key.execution_id)
    for file in form.files:
        uri = input_file(folder, input_id=file.input_id, name=file.name)
        await storage.put(key.tenant, uri, file.content)
        form.values[file.input_id] = uri


async def _fill(form: Form, request: web.Request, site: Site) -> None:
    kind = request.content_type
    if kind == _FORM:
        await _fill_multipart(form, request, site)
        return
    body = await read_body(request)
    if not body:
        return
    if kind == _URLENCODED:
        try:
            form.values.update(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_PARTS))
        except ValueError as error:
            raise Problem(400, f"the form cannot be read: {error}") from None
    elif kind == "application/json":
        value = parse_json(body)
        if not isinstance(value, dict):
            raise Problem(400, "inputs as JSON must be an object")
        form.values.update(value)
    else:
        raise Problem(415, f"inputs come as {_FORM}, {_URLENCODED} or application/json, and not as {kind}")


async def _fill_multipart(form: Form, request: web.Request, site: Site) -> None:
    left_bytes = site.body_limit_bytes
    if (request.content_length or 0) > site.request_limit_bytes:
        raise _too_large(site.request_limit_bytes)
    left_of_files = site.request_limit_bytes
    try:
        reader = await request.multipart()
        for _ in range(_MOST_PARTS):
            part = await _in_time(reader.next, site)
            if part is None:
                return
            if isinstance(part, MultipartReader) or not part.name:
                raise Problem(400, "every part of the form needs a name, and must not be a form itself")
            if part.headers.get("Content-Transfer-Encoding", "binary").lower() not in _PLAIN_ENCODINGS:
                raise Problem(415, "parts of a form are sent as they are, without a transfer encoding")
            if "Content-Encoding" in part.headers:
                raise Problem(415, "parts of a form are sent as they are, and not compressed")
            if part.filename is None:
                content = await _read_part(part, left_bytes, site)
                left_bytes -= len(content)
                form.values[_input_id(part.name)] = content.decode()
            else:
                left_of_files -= await _add_file(form, part, site, left_of_files)
    except UnicodeDecodeError:
        raise Problem(400, "values in a form must be UTF-8; send binary content as a file") from None
    except (ValueError, AssertionError, LookupError, RuntimeError, HttpProcessingError) as error:
        raise Problem(400, f"the form cannot be read: {str(error)[:200] or type(error).__name__}") from None
    raise Problem(400, f"a form has at most {_MOST_PARTS} parts")


async def _add_file(form: Form, part: BodyPartReader, site: Site, left_bytes: int) -> int:
    """Keep a file of the form; gives its size, which must not be above what is left of the request."""
    assert part.filename is not None
    name = _input_id(part.name or "")
    file_name = _plain_name(unquote(part.filename))
    if name == "files":
        name = _input_id(file_name)
    content: BinaryIO = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # type: ignore[assignment]  # noqa: SIM115 - a file in all but name; closed with the form
    form.files.append(UploadedFile(input_id=name, name=file_name, content=content))
    size = 0
    pace = _Pace(site)
    while True:
        chunk = await _in_time(lambda: part.read_chunk(_CHUNK_BYTES), site)
        pace.took(len(chunk))
        if not chunk:
            break
        size += len(chunk)
        if size > site.file_limit_bytes:
            raise Problem(413, f"a file has at most {site.file_limit_bytes} bytes")
        if size > left_bytes:
            raise _too_large(site.request_limit_bytes)
        if size <= _IN_MEMORY_BYTES:
            content.write(chunk)
        else:
            await asyncio.to_thread(content.write, chunk)
    content.seek(0)
    return size


async def _read_part(part: BodyPartReader, limit_bytes: int, site: Site) -> bytes:
    content = bytearray()
    pace = _Pace(site)
    while chunk := await _in_time(lambda: part.read_chunk(_CHUNK_BYTES), site):
        pace.took(len(chunk))
        content += chunk
        if len(content) > limit_bytes:
            raise Problem(413, "the values of the form are too large; send large ones as a file")
    return bytes(content)


def _input_id(name: str) -> str:
    if not name or len(name) > 256 or not name.isprintable() or "/" in name or "\\" in name:
        raise Problem(400, "the name of a part must be the id of an input")
    return name


def _plain_name(name: str) -> str:
    """The last component of a file name: folders of the sender mean nothing here."""
    plain = "".join(letter for letter in name.replace("\\", "/").rpartition("/")[2] if letter.isprintable())[
        :200
    ]
    return plain if plain.strip(". ") else "file"


async def _in_time(read: Callable[[], Awaitable[_Result]], site: Site) -> _Result:
    """Await a piece of the body, which must not be silent for longer than is allowed."""
    try:
        async with asyncio.timeout(site.body_timeout.total_seconds()):
            return await read()
    except TimeoutError:
        raise Problem(408, "the body of the request stopped arriving") from None
    except (web.RequestPayloadError, zlib.error) as error:
        raise Problem(400, f"the body cannot be read: {str(error)[:200] or 'it is cut off'}") from None


class _Pace:
    """How quickly a body comes: after the time that it may be silent, a byte now and then is not enough."""

    def __init__(self, site: Site) -> None:
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._patience = site.body_timeout.total_seconds()
        self._bytes = 0

    def took(self, count: int) -> None:
        """Note what came.  Raises Problem 408 when it comes too slowly."""
        self._bytes += count
        seconds = self._clock() - self._began - self._patience
        if count and seconds > 0 and self._bytes < seconds * _LEAST_BYTES_PER_SECOND:
            raise Problem(408, f"the body came with less than {_LEAST_BYTES_PER_SECOND} bytes a second")


def _too_large(limit_bytes: int) -> Problem:
    return Problem(413, f"the body has more than {limit_bytes} bytes")
