"""`core.http.Request` and `core.http.Download`: a request with its answer as output, or as a file (RUN-10, RUN-11)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import unquote, urlsplit

import aiohttp
from pydantic import Field, model_validator

from flowtide.errors import TaskFailed
from flowtide.model.durations import parse_duration
from flowtide.model.outbound import OutboundRules, proxy_of_surroundings
from flowtide.model.plugin import Part
from flowtide.model.task import RunContext, RunnableTask, TaskLogger

_DEFAULT_MAXIMUM_BYTES: Final = 10 * 1024 * 1024
_HIGHEST_MAXIMUM_BYTES: Final = 2 * 1024**3
_CHUNK_BYTES: Final = 256 * 1024
_STORED: Final = "kestra:///"
_MULTIPART: Final = "multipart/form-data"
_FORM: Final = "application/x-www-form-urlencoded"
_DEFAULT_READ: Final = timedelta(minutes=5)
_LARGEST_LOGGED_CHARACTERS: Final = 2_000

Text = str | int | float | bool


class Authentication(Part):
    """How the request says who asks."""

    type: Annotated[str, Field(title="The kind", description="BASIC, BEARER or DIGEST; may be a template.")]
    username: Annotated[str | None, Field(title="The login, for BASIC and DIGEST")] = None
    password: Annotated[str | None, Field(title="The password, for BASIC and DIGEST")] = None
    token: Annotated[str | None, Field(title="The token, for BEARER")] = None


class Timeouts(Part):
    """How long to wait for what."""

    connect_timeout: Annotated[str | None, Field(title="For a connection")] = None
    read_idle_timeout: Annotated[str | None, Field(title="Between two pieces of the answer")] = None


class Proxy(Part):
    """A proxy to go through."""

    type: Annotated[str, Field(title="DIRECT (none) or HTTP")] = "DIRECT"
    address: Annotated[str | None, Field(title="Host name or address")] = None
    port: Annotated[int | str | None, Field(title="Port")] = None
    username: Annotated[str | None, Field(title="Login")] = None
    password: Annotated[str | None, Field(title="Password")] = None


class Ssl(Part):
    """How certificates are checked."""

    insecure_trust_all_certificates: Annotated[bool | str, Field(title="Whether any certificate will do")] = (
        False
    )


class Options(Part):
    """Options of the client; durations are ISO-8601, everything may be a template."""

    auth: Annotated[Authentication | None, Field(title="Authentication")] = None
    timeout: Annotated[Timeouts | None, Field(title="Time limits")] = None
    proxy: Annotated[Proxy | None, Field(title="The proxy")] = None
    ssl: Annotated[Ssl | None, Field(title="Certificates")] = None
    follow_redirects: Annotated[bool | str, Field(title="Whether redirects are followed")] = True
    allow_failed: Annotated[bool | str, Field(title="Whether codes of 400 and above are a success")] = False
    allowed_response_codes: Annotated[
        list[int | str] | str | None, Field(title="The only codes that are a success")
    ] = None
    max_content_length: Annotated[int | str | None, Field(title="Bytes of an answer at most")] = None
    default_charset: Annotated[str, Field(title="The charset of texts that name none")] = "UTF-8"
    logs: Annotated[
        list[Literal["REQUEST_HEADERS", "REQUEST_BODY", "RESPONSE_HEADERS", "RESPONSE_BODY"]] | None,
        Field(title="What is logged at DEBUG"),
    ] = None
    # The deprecated forms of the above, still found in flows.
    basic_auth_user: Annotated[str | None, Field(title="Deprecated: `auth.username`")] = None
    basic_auth_password: Annotated[str | None, Field(title="Deprecated: `auth.password`")] = None
    connect_timeout: Annotated[str | None, Field(title="Deprecated: `timeout.connectTimeout`")] = None
    read_timeout: Annotated[str | None, Field(title="Deprecated: limit of the whole request")] = None
    read_idle_timeout: Annotated[str | None, Field(title="Deprecated: `timeout.readIdleTimeout`")] = None
    connection_pool_idle_timeout: Annotated[
        str | None, Field(title="Deprecated, without effect: connections are not kept")
    ] = None
    proxy_type: Annotated[str | None, Field(title="Deprecated: `proxy.type`")] = None
    proxy_address: Annotated[str | None, Field(title="Deprecated: `proxy.address`")] = None
    proxy_port: Annotated[int | str | None, Field(title="Deprecated: `proxy.port`")] = None
    proxy_username: Annotated[str | None, Field(title="Deprecated: `proxy.username`")] = None
    proxy_password: Annotated[str | None, Field(title="Deprecated: `proxy.password`")] = None
    log_level: Annotated[str | None, Field(title="Deprecated, without effect: use `logs`")] = None


class HttpRequest(Part):
    """The properties of a request, and sending it: shared by the tasks and the trigger of HTTP."""

    uri: Annotated[str, Field(title="Where to send the request", description="A template.")]
    method: Annotated[
        str, Field(title="The method", description="GET, POST, PUT, ...; may be a template.")
    ] = "GET"
    body: Annotated[
        str | dict[str, Any] | list[Any] | None,
        Field(title="The body", description="Text, or a structure that is sent as JSON."),
    ] = None
    form_data: Annotated[
        dict[str, Any] | None,
        Field(
            title="A form", description="Sent as a form; with multipart, URIs of stored files become uploads."
        ),
    ] = None
    content_type: Annotated[str | None, Field(title="The content type of the body")] = None
    headers: Annotated[dict[str, Any] | None, Field(title="Headers")] = None
    params: Annotated[dict[str, Any] | None, Field(title="Query parameters; a list gives several")] = None
    options: Annotated[Options | None, Field(title="Options of the client")] = None
    auth: Annotated[
        Authentication | None,
        Field(title="Authentication, as pages 086 and 132 write it; `options.auth` is stronger"),
    ] = None
    ssl_options: Annotated[Ssl | None, Field(title="Deprecated: `options.ssl`")] = None

    async def _values(self, context: RunContext) -> _Values:
        """All properties, rendered."""
        options = self.options or Options()
        given: dict[str, Any] = {name: getattr(options, name) for name in Options.model_fields}
        for name in ("auth", "timeout", "proxy", "ssl"):
            part = given[name]
            given[name] = None if part is None else dict(part)
        if self.auth is not None and given["auth"] is None:
            given["auth"] = dict(self.auth)
        if self.ssl_options is not None and given["ssl"] is None:
            given["ssl"] = dict(self.ssl_options)
        rendered = await context.evaluate(given)
        headers = await context.evaluate(self.headers or {}, typed=False)
        body = self.body
        return _Values(
            uri=str(await context.evaluate(self.uri, typed=False)).strip(),
            method=str(await context.evaluate(self.method, typed=False)).strip().upper(),
            body=None if body is None else await context.evaluate(body, typed=False),
            form=None if self.form_data is None else await context.evaluate(self.form_data),
            content_type=None
            if self.content_type is None
            else str(await context.evaluate(self.content_type)),
            headers={name: _text(value) for name, value in headers.items() if value is not None},
            parameters=await context.evaluate(self.params or {}),
            options=rendered,
        )

    @asynccontextmanager
    async def _answer(self, context: RunContext) -> AsyncIterator[tuple[aiohttp.ClientResponse, _Values]]:
        """Send the request; the answer's body is not read yet.  Raises TaskFailed for a code that is a failure."""
        values = await self._values(context)
        async with AsyncExitStack() as stack:
            try:
                session = await stack.enter_async_context(_session(values, context.outbound))
                data, headers = await _payload(values, context, stack)
                for name in values.logged("REQUEST_HEADERS"):
                    shown = {
                        key: "***" if key.lower() == "authorization" else value
                        for key, value in headers.items()
                    }
                    _lines(context).debug("{}: {}", name, shown)
                for name in values.logged("REQUEST_BODY"):
                    _lines(context).debug("{}: {}", name, str(values.body)[:_LARGEST_LOGGED_CHARACTERS])
                response = await stack.enter_async_context(
                    session.request(
                        values.method,
                        values.uri,
                        params=_parameters(values.parameters),
                        data=data,
                        headers=headers,
                        allow_redirects=_truth(values.options["follow_redirects"]),
                        ssl=not values.trusts_all,
                        **values.proxy(),
                    )
                )
                for name in values.logged("RESPONSE_HEADERS"):
                    _lines(context).debug("{}: {}", name, dict(response.headers))
                yield response, values
            except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
                raise TaskFailed(
                    f"property `uri`: {values.uri[:300]!r} is not a URL of HTTP: {error}"
                ) from error
            except TimeoutError as error:
                place = f"{values.method} {values.uri[:300]}"
                raise TaskFailed(f"{place}: no answer in time; see `options.timeout` ({error})") from error
            except (aiohttp.ClientError, OSError) as error:
                raise TaskFailed(f"{values.method} {values.uri[:300]} failed: {error}") from error
            except ValueError as error:  # a header with a line feed, an unknown method
                raise TaskFailed(f"the request cannot be sent: {error}") from error

    async def exchange(self, context: RunContext) -> dict[str, Any]:
        """Send the request and read the answer: `uri`, `code`, `headers` and `body`.  Raises TaskFailed."""
        async with self._answer(context) as (response, values):
            content = await _read(response, values.maximum_bytes(_DEFAULT_MAXIMUM_BYTES))
            text = _decoded(content, response, str(values.options["default_charset"]))
            context.counter("response.length", len(content))
            for name in values.logged("RESPONSE_BODY"):
                _lines(context).debug("{}: {}", name, text[:_LARGEST_LOGGED_CHARACTERS])
            values.check(response, text)
            return {
                "uri": str(response.url),
                "code": response.status,
                "headers": _headers(response),
                "body": text,
            }


class _HttpTask(HttpRequest, RunnableTask):
    """What both tasks share."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    uses_files: ClassVar[bool] = True


class Request(_HttpTask):
    """Send an HTTP request; its answer is the output."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "uri": ("string", "The address that answered, after redirects"),
        "code": ("integer", "The status code"),
        "headers": ("object", "The headers of the answer, each a list"),
        "body": ("string", "The body as text"),
    }
    metrics: ClassVar[Mapping[str, str]] = {"response.length": "counter"}
    title: ClassVar[str] = "Send an HTTP request"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.fs.http.Request",)
    example: ClassVar[str] = """\
id: api_call
namespace: company.team
tasks:
  - id: request
    type: io.kestra.plugin.core.http.Request
    uri: https://dummyjson.com/products/1
  - id: show
    type: io.kestra.plugin.core.log.Log
    message: "{{ outputs.request.code }}: {{ outputs.request.body }}"
"""

    encrypt_body: Annotated[
        bool, Field(title="Whether the body is kept encrypted", description="Not supported by this version.")
    ] = False

    @model_validator(mode="after")
    def _encryption_is_refused(self) -> Request:
        if self.encrypt_body:
            raise ValueError("`encryptBody` is not supported by this version; leave it out")
        return self

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `code`, `body`, `headers` and `uri`."""
        return await self.exchange(context)


class Download(_HttpTask):
    """Download a file over HTTP into the storage."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "uri": ("string", "The stored file"),
        "code": ("integer", "The status code"),
        "headers": ("object", "The headers of the answer, each a list"),
        "length": ("integer", "The size in bytes"),
    }
    metrics: ClassVar[Mapping[str, str]] = {"response.length": "counter"}
    title: ClassVar[str] = "Download a file over HTTP"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.fs.http.Download",)
    example: ClassVar[str] = """\
id: download
namespace: company.team
tasks:
  - id: file
    type: io.kestra.plugin.core.http.Download
    uri: https://huggingface.co/datasets/kestra/datasets/raw/main/csv/orders.csv
"""

    fail_on_empty_response: Annotated[bool | str, Field(title="Whether an empty answer is a failure")] = True
    save_as: Annotated[
        str | None,
        Field(title="The file's name", description="By default the server's, or the last of the path."),
    ] = None

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `uri` (of the stored file), `code`, `headers` and `length` in bytes."""
        fails_on_empty = _truth(await context.evaluate(self.fail_on_empty_response))
        save_as = None if self.save_as is None else str(await context.evaluate(self.save_as, typed=False))
        async with self._answer(context) as (response, values):
            if values.is_failure(response.status):
                content = await response.content.read(_LARGEST_LOGGED_CHARACTERS)
                values.check(response, _decoded(content, response, str(values.options["default_charset"])))
            path = context.working_directory / "download"
            length = await _save(response, path, values.maximum_bytes(None))
            expected = response.content_length
            if expected is not None and "Content-Encoding" not in response.headers and expected != length:
                raise TaskFailed(f"the answer has {length} bytes, and its Content-Length says {expected}")
            if length == 0 and fails_on_empty:
                raise TaskFailed(
                    f"no content: the answer of {values.uri[:300]} is empty; set `failOnEmptyResponse: false` "
                    "when that is no failure"
                )
            uri = await context.put_file(path, save_as or _file_name(response))
            context.counter("response.length", length)
            return {"uri": uri, "code": response.status, "headers": _headers(response), "length": length}


@dataclass(frozen=True, kw_only=True)
class _Values:
    """A request as it will be sent."""

    uri: str
    method: str
    body: Any
    form: Any
    content_type: str | None
    headers: dict[str, str]
    parameters: Mapping[str, Any]
    options: Mapping[str, Any]

    @property
    def trusts_all(self) -> bool:
        ssl = self.options["ssl"]
        return ssl is not None and _truth(ssl["insecure_trust_all_certificates"])

    def logged(self, name: str) -> list[str]:
        """The name when this is to be logged, else nothing."""
        return [name] if name in (self.options["logs"] or ()) else []

    def duration(self, name: str, fallback: timedelta | None) -> timedelta | None:
        part = self.options["timeout"] or {}
        text = part.get(name) or self.options.get(name)
        if text is None:
            return fallback
        try:
            return parse_duration(str(text))
        except ValueError as error:
            raise TaskFailed(f"property `options.timeout`: {error}") from None

    def maximum_bytes(self, default: int | None) -> int | None:
        given = self.options["max_content_length"]
        if given is None:
            return default
        try:
            maximum = int(given)
        except ValueError:
            raise TaskFailed(
                f"property `options.maxContentLength`: {given!r} is no number of bytes"
            ) from None
        if not 0 < maximum <= _HIGHEST_MAXIMUM_BYTES:
            raise TaskFailed("property `options.maxContentLength`: must be between 1 byte and 2 GiB")
        return maximum

    def proxy(self) -> dict[str, Any]:
        part = self.options["proxy"] or {}
        kind = str(part.get("type") or self.options["proxy_type"] or "DIRECT").upper()
        address = part.get("address") or self.options["proxy_address"]
        if part.get("address") is None and self.options["proxy_type"] is None and address is not None:
            kind = "HTTP"  # the deprecated form named no kind
        if kind == "DIRECT":
            asked = part.get("type") is not None or self.options["proxy_type"] is not None
            found = None if asked else proxy_of_surroundings(self.uri)
            return {} if found is None else {"proxy": found}
        if kind != "HTTP":
            raise TaskFailed(
                f"property `options.proxy.type`: {kind[:20]} is not supported; use HTTP or DIRECT"
            )
        port = part.get("port") or self.options["proxy_port"]
        if address is None or port is None:
            raise TaskFailed("property `options.proxy`: needs `address` and `port`")
        username = part.get("username") or self.options["proxy_username"]
        password = part.get("password") or self.options["proxy_password"]
        login = (
            {} if username is None else {"Proxy-Authorization": _basic(str(username), str(password or ""))}
        )
        return {"proxy": f"http://{address}:{port}", "proxy_headers": login}

    def way(self) -> tuple[str | None, bool]:
        """The proxy that the request goes through, and whether it is the operator's."""
        proxy = self.proxy().get("proxy")
        return proxy, proxy is not None and proxy == proxy_of_surroundings(self.uri)

    def is_failure(self, code: int) -> bool:
        allowed = self.options["allowed_response_codes"]
        if allowed is not None:
            if isinstance(allowed, str):
                allowed = json.loads(allowed) if allowed.strip().startswith("[") else allowed.split(",")
            try:
                return code not in {int(value) for value in allowed}
            except ValueError:
                raise TaskFailed(
                    "property `options.allowedResponseCodes`: must be a list of numbers"
                ) from None
        return code >= 400 and not _truth(self.options["allow_failed"])

    def check(self, response: aiohttp.ClientResponse, text: str) -> None:
        """Raise TaskFailed for a code that is a failure, with the beginning of what the server said."""
        if not self.is_failure(response.status):
            return
        shown = text.strip()[:_LARGEST_LOGGED_CHARACTERS]
        raise TaskFailed(
            f"{self.method} {self.uri[:300]} answered {response.status} {response.reason or ''}".rstrip()
            + (f": {shown}" if shown else "")
        )


@asynccontextmanager
async def _session(values: _Values, rules: OutboundRules) -> AsyncIterator[aiohttp.ClientSession]:
    connect = values.duration("connect_timeout", None)
    read = values.duration("read_idle_timeout", _DEFAULT_READ)
    total = values.duration("read_timeout", None)
    timeout = aiohttp.ClientTimeout(
        total=None if total is None else total.total_seconds(),
        sock_connect=None if connect is None else connect.total_seconds(),
        sock_read=None if read is None else read.total_seconds(),
    )
    arguments = _authentication(values)
    proxy, trusted = values.way()
    guard = rules.guard(proxy=proxy, trusts_proxy=trusted)
    # The guard stands innermost, so that it sees each request that is really sent.
    arguments["middlewares"] = (*arguments.get("middlewares", ()), guard.admit)
    connector = aiohttp.TCPConnector(socket_factory=guard.open_socket)
    async with aiohttp.ClientSession(
        timeout=timeout, trust_env=False, connector=connector, **arguments
    ) as session:
        yield session


def _authentication(values: _Values) -> dict[str, Any]:
    options = values.options
    part = options["auth"]
    if part is None:
        if options["basic_auth_user"] is None:
            return {}
        part = {
            "type": "BASIC",
            "username": options["basic_auth_user"],
            "password": options["basic_auth_password"],
        }
    kind = str(part["type"]).upper()
    username, password = str(part.get("username") or ""), str(part.get("password") or "")
    match kind:
        case "BASIC":
            return {"headers": {"Authorization": _basic(username, password)}}
        case "DIGEST":
            return {"middlewares": (aiohttp.DigestAuthMiddleware(username, password),)}
        case "BEARER":
            if not part.get("token"):
                raise TaskFailed("property `options.auth.token`: BEARER needs a token")
            return {"headers": {"Authorization": f"Bearer {part['token']}"}}
        case _:
            raise TaskFailed(f"property `options.auth.type`: {kind[:20]} is none of BASIC, BEARER, DIGEST")


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def _payload(values: _Values, context: RunContext, stack: AsyncExitStack) -> tuple[Any, dict[str, str]]:
    """The body as aiohttp takes it, with the headers; files of a form are fetched and stay open in `stack`."""
    headers = dict(values.headers)
    given = {name.lower() for name in headers}
    kind = values.content_type
    if values.form is not None:
        if not isinstance(values.form, Mapping):
            raise TaskFailed("property `formData`: must be a mapping")
        if kind is not None and kind.lower().startswith(_MULTIPART):
            # The boundary is part of the content type, so aiohttp writes this header.
            return await _multipart(values.form, context, stack), headers
        form = [(name, _text(value)) for name, value in values.form.items() if value is not None]
        if kind is not None and not kind.lower().startswith(_FORM):
            # Page 255 gives application/json beside a form; what is sent is a form all the same.
            lines = context.logger
            lines.warn("`contentType` has no effect: the form is sent as {}", _FORM)
        return aiohttp.FormData(form), headers
    if values.body is None:
        if kind is not None and "content-type" not in given:
            headers["Content-Type"] = kind
        return None, headers
    if "content-type" not in given:
        headers["Content-Type"] = kind or "application/json"
    if isinstance(values.body, str):
        return values.body.encode("utf-8", "replace"), headers
    return json.dumps(values.body).encode(), headers


async def _multipart(form: Mapping[str, Any], context: RunContext, stack: AsyncExitStack) -> aiohttp.FormData:
    data = aiohttp.FormData(default_to_multipart=True)
    for index, (name, value) in enumerate(form.items()):
        if isinstance(value, str) and value.startswith(_STORED):
            file_name = unquote(value.rsplit("/", 1)[-1])
        elif isinstance(value, Mapping) and {"name", "content"} <= set(value):
            file_name, value = str(value["name"]), str(value["content"])
        else:
            if value is not None:
                data.add_field(name, _text(value))
            continue
        if value.startswith(_STORED):
            path = context.working_directory / f".upload-{index}"
            await context.get_file(value, path)
            handle = await asyncio.to_thread(path.open, "rb")
            stack.callback(handle.close)
            data.add_field(name, handle, filename=file_name)
        else:
            data.add_field(name, value.encode(), filename=file_name)
    return data


def _parameters(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        several = value if isinstance(value, list) else [value]
        pairs.extend((name, _text(one)) for one in several if one is not None)
    return pairs


async def _read(response: aiohttp.ClientResponse, maximum: int | None) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        content += chunk
        _check_length(len(content), maximum)
    return bytes(content)


async def _save(response: aiohttp.ClientResponse, path: Path, maximum: int | None) -> int:
    length = 0
    handle = await asyncio.to_thread(path.open, "wb")
    try:
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            length += len(chunk)
            _check_length(length, maximum)
            await asyncio.to_thread(handle.write, chunk)
    finally:
        await asyncio.to_thread(handle.close)
    return length


def _check_length(length: int, maximum: int | None) -> None:
    if maximum is not None and length > maximum:
        raise TaskFailed(
            f"the answer has more than {maximum} bytes; raise `options.maxContentLength`, or use the task "
            "io.kestra.plugin.core.http.Download"
        )


def _decoded(content: bytes, response: aiohttp.ClientResponse, default_charset: str) -> str:
    charset = response.charset or default_charset
    try:
        return content.decode(charset, "replace")
    except LookupError:
        return content.decode("utf-8", "replace")


def _headers(response: aiohttp.ClientResponse) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for name, value in response.headers.items():
        headers.setdefault(name.lower(), []).append(value.encode("utf-8", "replace").decode())
    return headers


def _file_name(response: aiohttp.ClientResponse) -> str:
    """The name that the server gives, or the last part of the path; never a path."""
    disposition = response.content_disposition
    name = disposition.filename if disposition is not None else None
    if not name:
        name = unquote(urlsplit(str(response.url)).path.rsplit("/", 1)[-1])
    name = re.split(r"[/\\]", name)[-1].replace("\0", "").strip()
    return "download" if name in ("", ".", "..") else name[:200]


def _lines(context: RunContext) -> TaskLogger:
    return context.logger


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    with contextlib.suppress(TypeError):
        return json.dumps(value)
    return str(value)


def _truth(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).strip().lower() == "true"
