"""The request behind the expression function `http()`: its arguments come in, the parsed answer goes out (N34).

It is meant for small answers, such as the choices of a dropdown: size and time are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from flowtide.errors import TaskFailed
from flowtide.model.documents import DocumentError, read_document
from flowtide.model.outbound import OPEN, OutboundRules, proxy_of_surroundings

_LIMIT_BYTES: Final = 10 * 1024 * 1024
_TIMEOUT_SECONDS: Final = 9.0  # a rendering has ten
_OPTIONS: Final = frozenset({"basicAuthUser", "basicAuthPassword", "followRedirects", "allowFailed", "auth"})


async def fetch(
    uri: str,
    *,
    method: str,
    query: Mapping[str, Any],
    body: Any,
    content_type: str,
    headers: Mapping[str, Any],
    options: Mapping[str, Any],
    accept: str,
    rules: OutboundRules = OPEN,
) -> Any:
    """Send a request; gives JSON and YAML as values and anything else as text.

    `rules` say where it may go.  Raises TaskFailed for an answer of 400 and above (unless `allowFailed`), one that is
    too large, and a server that cannot be reached.
    """
    import aiohttp  # only who calls it pays for it

    if not uri.startswith(("http://", "https://")):
        raise TaskFailed(f"the URI must begin with http:// or https://, and not {uri[:50]!r}")
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise TaskFailed(f"the option `{unknown[0]}` is not known; there are {', '.join(sorted(_OPTIONS))}")
    sent = {"Accept": accept, **{str(name): str(value) for name, value in headers.items()}}
    data: str | None = None
    if body is not None:
        data = body if isinstance(body, str) else json.dumps(body)
        sent.setdefault("Content-Type", content_type)
    authentication = options.get("auth") or options
    user = authentication.get("basicAuthUser", authentication.get("username"))
    if user is not None:
        password = authentication.get("basicAuthPassword", authentication.get("password", ""))
        sent["Authorization"] = aiohttp.BasicAuth(str(user), str(password)).encode()
    proxy = proxy_of_surroundings(uri)
    guard = rules.guard(proxy=proxy, trusts_proxy=proxy is not None)
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
                connector=aiohttp.TCPConnector(socket_factory=guard.open_socket),
                middlewares=(guard.admit,),
                proxy=proxy,
            ) as session,
            session.request(
                method.upper(),
                uri,
                params={str(name): str(value) for name, value in query.items()},
                data=data,
                headers=sent,
                allow_redirects=bool(options.get("followRedirects", True)),
            ) as response,
        ):
            content = await response.content.read(_LIMIT_BYTES + 1)
            while len(content) <= _LIMIT_BYTES and not response.content.at_eof():
                content += await response.content.read(_LIMIT_BYTES + 1 - len(content))
            if len(content) > _LIMIT_BYTES:
                raise TaskFailed(
                    f"the answer has more than {_LIMIT_BYTES} bytes; use a task of type http.Download"
                )
            if response.status >= 400 and not options.get("allowFailed"):
                raise TaskFailed(
                    f"Failed to execute HTTP Request, server respond with status {response.status} : "
                    f"{response.reason}"
                )
            kind = response.content_type
            charset = response.charset or "utf-8"
    except TimeoutError:
        raise TaskFailed(f"the server of {uri[:200]} did not answer within {_TIMEOUT_SECONDS:g} s") from None
    except (aiohttp.ClientError, ValueError, OSError) as error:
        raise TaskFailed(
            f"the request to {uri[:200]} failed: {str(error)[:300] or type(error).__name__}"
        ) from None
    return _parsed(content, kind, charset)


def _parsed(content: bytes, kind: str, charset: str) -> Any:
    try:
        text = content.decode(charset)
    except (UnicodeDecodeError, LookupError):
        raise TaskFailed("the answer is not text") from None
    if not text.strip():
        return None
    try:
        if kind == "application/json" or kind.endswith("+json"):
            return json.loads(text)
        if "yaml" in kind:
            return read_document(text).value
    except (ValueError, RecursionError):
        raise TaskFailed(f"the answer says that it is {kind}, and is not") from None
    except DocumentError as error:
        raise TaskFailed(f"the answer is no YAML that can be used: {error.message[:300]}") from None
    return text
