"""Calls of a server's API from the command line: paths and bodies in, what the server answered out (CLI-3, CTL-1).

On the standard library alone, as importing more would take longer than most calls.  No state but the address.
"""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from flowtide.errors import FlowtideError

YAML: Final = "application/x-yaml"
JSON: Final = "application/json"
DEFAULT_SERVER: Final = "http://localhost:8080"
DEFAULT_TENANT: Final = "main"

_SECONDS = 60.0
_CHUNK_BYTES = 256 * 1024
_LONGEST_TEXT = 500
_MOST_DETAILS = 20
_PAGE = 100

Query = Mapping[str, object]


class ServerRefused(FlowtideError):
    """A server cannot be reached, or refused what it was asked; `status` is None when there was no answer."""

    code = "server-refused"

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Which server is asked, and as whom."""

    server: str = DEFAULT_SERVER  # with the context path, if there is one
    tenant: str = DEFAULT_TENANT
    authorization: str | None = None  # the value of the header
    headers: tuple[tuple[str, str], ...] = ()
    login_hint: str = "give a login with --user NAME:PASSWORD, or --api-token TOKEN"

    def __repr__(self) -> str:
        """Without the credentials, which no log may have."""
        return f"Connection({self.server!r}, tenant={self.tenant!r})"


def basic_authorization(user: str) -> str:
    """The header of a `name:password`.  Raises ServerRefused when it has no colon."""
    if ":" not in user:
        raise ServerRefused("a login is a name and a password: you@example.com:Password")
    return "Basic " + b64encode(user.encode()).decode()


class Form:
    """A multipart form that is sent without having its files in memory."""

    def __init__(self) -> None:
        self._boundary = f"flowtide-{secrets.token_hex(16)}"
        self._parts: list[tuple[bytes, bytes | Path]] = []

    def text(self, name: str, value: str) -> None:
        """Add a field."""
        self._parts.append((self._head(name, None), value.encode()))

    def file(self, name: str, path: Path) -> None:
        """Add a file, which must not change while it is sent."""
        self._parts.append((self._head(name, path.name), path))

    def _head(self, name: str, file: str | None) -> bytes:
        described = f'form-data; name="{_quoted(name)}"'
        kind = ""
        if file is not None:
            described += f'; filename="{_quoted(file)}"'
            kind = "Content-Type: application/octet-stream\r\n"
        return f"--{self._boundary}\r\nContent-Disposition: {described}\r\n{kind}\r\n".encode()

    @property
    def content_type(self) -> str:
        """The header of the request."""
        return f"multipart/form-data; boundary={self._boundary}"

    @property
    def size(self) -> int:
        """How many bytes are sent."""
        end = len(self._boundary) + 6
        return end + sum(len(head) + _size(content) + 2 for head, content in self._parts)

    def __iter__(self) -> Iterator[bytes]:
        for head, content in self._parts:
            yield head
            if isinstance(content, bytes):
                yield content
            else:
                with content.open("rb") as file:
                    while chunk := file.read(_CHUNK_BYTES):
                        yield chunk
            yield b"\r\n"
        yield f"--{self._boundary}--\r\n".encode()


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


class Client:
    """Asks one server.  `trace` is told of every request and answer, the credentials included."""

    def __init__(self, connection: Connection, *, trace: Callable[[str], None] | None = None) -> None:
        self.connection = connection
        self._trace = trace or (lambda line: None)
        parts = urlsplit(connection.server)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ServerRefused(
                f"`{connection.server}` is no address of a server; write it as http://localhost:8080"
            )
        self._opener = opener_of(connection.server)

    def path(self, *segments: str) -> str:
        """The path of something in the tenant; segments may hold anything."""
        return "/api/v1/" + "/".join(quote(each, safe="") for each in (self.connection.tenant, *segments))

    def get(self, path: str, query: Query | None = None) -> Any:
        """What a JSON answer says.  Raises ServerRefused."""
        return self.send("GET", path, query=query)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | Form | None = None,
        content_type: str = JSON,
        document: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send a body, or `document` as JSON; gives the JSON that comes back, None when there is none.

        Raises ServerRefused.
        """
        if document is not None:
            body = json.dumps(document).encode()
        with self._opened(
            method, path, query=query, body=body, content_type=content_type, headers=headers
        ) as answer:
            text = answer.read()
            kind = answer.headers.get_content_type()
        if not text.strip():
            return None
        try:
            return json.loads(text)
        except ValueError:
            about = " (a page for people)" if kind == "text/html" else ""
            raise ServerRefused(
                f"{self.connection.server} did not answer as Flowtide does{about}; is the address right?"
            ) from None

    def pages(self, path: str, query: Query | None = None) -> Iterator[dict[str, Any]]:
        """All results of a search, page by page.  Raises ServerRefused."""
        number = seen = 0
        while True:
            number += 1
            answer = self.get(path, {**(query or {}), "page": number, "size": _PAGE})
            results = answer["results"]
            yield from results
            seen += len(results)
            if not results or seen >= answer["total"]:
                return

    def download(self, method: str, path: str, target: IO[bytes], *, query: Query | None = None) -> int:
        """Write an answer to a file; gives how many bytes it has.  Raises ServerRefused, OSError."""
        count = 0
        with self._opened(method, path, query=query) as answer:
            while chunk := answer.read(_CHUNK_BYTES):
                count += target.write(chunk)
            announced = answer.headers.get("Content-Length")
            if announced is not None and count != int(announced):  # reading in portions does not notice it
                raise self._unreachable(f"it sent {count} of {announced} bytes")
        return count

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Server-sent events as (name, JSON), until the server ends the stream.  Raises ServerRefused."""
        with self._opened("GET", path, headers={"Accept": "text/event-stream"}) as answer:
            name, lines = "message", list[str]()
            while line := answer.readline():
                field, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
                value = value.removeprefix(" ")
                if field == "event":
                    name = value
                elif field == "data":
                    lines.append(value)
                elif not field and not value:
                    text = "\n".join(lines)
                    if text:  # the first one may have none: it says only that the stream is there
                        yield name, json.loads(text)
                    name, lines = "message", []

    @contextmanager
    def _opened(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | Form | None = None,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[HTTPResponse]:
        url = self.connection.server.rstrip("/") + path + _query(query)
        given = {"Accept": f"{JSON}, */*;q=0.5", **(headers or {}), **dict(self.connection.headers)}
        if self.connection.authorization is not None:
            given["Authorization"] = self.connection.authorization
        if isinstance(body, Form):
            given |= {"Content-Type": body.content_type, "Content-Length": str(body.size)}
        elif body is not None:
            given["Content-Type"] = content_type
        self._trace(f"> {method} {url}")
        for name, value in given.items():
            self._trace(f"> {name}: {value}")
        try:
            request = Request(url, data=body, headers=given, method=method)  # noqa: S310 - only http and https
            with self._opener.open(request, timeout=_SECONDS) as answer:
                self._trace(f"< {answer.status} {answer.reason}")
                yield answer
        except HTTPError as error:
            with error:
                self._trace(f"< {error.code} {error.reason}")
                raise self._refused(method, path, error) from None
        except URLError as error:
            raise self._unreachable(error.reason) from None
        except (HTTPException, TimeoutError, ConnectionError, ValueError) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, reason: object) -> ServerRefused:
        text = str(reason) or type(reason).__name__
        return ServerRefused(
            f"{self.connection.server} cannot be asked ({text}); is the address right, does it run?"
        )

    def _refused(self, method: str, path: str, error: HTTPError) -> ServerRefused:
        server, status = self.connection.server, error.code
        if 300 <= status < 400:
            target = error.headers.get("Location", "another place")
            return ServerRefused(f"{server} sends callers to {target}; give that address", status=status)
        message = _message(error.read())
        hint = f"; {self.connection.login_hint}" if status == 401 else ""
        return ServerRefused(f"{server} answered {status} to {method} {path}: {message}{hint}", status=status)


class _NoRedirects(HTTPRedirectHandler):
    """A redirect could take the credentials to another server, and would turn a POST into a GET."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none."""
        return


def opener_of(server: str) -> OpenerDirector:
    """What sends requests: by the proxy of the environment, but straight to this machine itself."""
    host = urlsplit(server).hostname or ""
    here = host in ("localhost", "::1") or host.startswith("127.")
    return build_opener(_NoRedirects, ProxyHandler({})) if here else build_opener(_NoRedirects)


def _query(query: Query | None) -> str:
    pairs = [
        (name, str(each).lower() if isinstance(each, bool) else str(each))
        for name, value in (query or {}).items()
        for each in (value if isinstance(value, list | tuple) else (value,))
        if each is not None
    ]
    return f"?{urlencode(pairs)}" if pairs else ""


def _message(content: bytes) -> str:
    """What the error envelope says; the beginning of anything else."""
    text = content.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        return text[:_LONGEST_TEXT] or "nothing"
    if not isinstance(body, dict):
        return text[:_LONGEST_TEXT]
    message = str(body.get("message", text[:_LONGEST_TEXT]))
    embedded = body.get("_embedded")
    errors = embedded.get("errors") if isinstance(embedded, dict) else None
    details = [str(each.get("message")) for each in errors or () if isinstance(each, dict)]
    missing = [each for each in details if each not in message]
    return "\n  ".join([message, *missing[:_MOST_DETAILS]])
