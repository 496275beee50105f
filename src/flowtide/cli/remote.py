"""Calls of a server's API from the command line: files in, what the server answered out (CLI-3)."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowtide.errors import FlowtideError, Violation

_SECONDS = 60


class ServerRefused(FlowtideError):
    """A server cannot be reached, or refused what it was asked."""

    code = "server-refused"


def validate_remotely(files: Sequence[Path], *, server: str, tenant: str, user: str | None) -> list[str]:
    """What the server finds wrong, as lines of path, line, column and message.  Raises ServerRefused, OSError."""
    from flowtide.cli.flow_folder import violation_line

    lines = []
    for path in files:
        answer = asyncio.run(
            call("POST", server, f"/api/v1/{tenant}/flows/validate", user=user, body=path.read_bytes())
        )
        for document in answer:
            found = document.get("violations") or []
            if not found and document.get("constraints"):
                lines.append(f"{path}: {document['constraints']}")
            for each in found:
                violation = Violation(
                    path=each.get("path") or "",
                    message=each["message"],
                    line=each.get("line") or 0,
                    column=each.get("column") or 0,
                )
                lines.append(violation_line(path, violation))
    return lines


def update_namespace(
    files: Sequence[Path], *, namespace: str, delete: bool, server: str, tenant: str, user: str | None
) -> list[dict[str, Any]]:
    """Save the flows of a namespace; gives them as they are saved.  Raises ServerRefused, OSError."""
    body = b"\n---\n".join(path.read_bytes() for path in files)
    address = f"/api/v1/{tenant}/flows/{namespace}?delete={str(delete).lower()}"
    answer: list[dict[str, Any]] = asyncio.run(call("POST", server, address, user=user, body=body))
    return answer


async def call(method: str, server: str, path: str, *, user: str | None, body: bytes) -> Any:
    """Send YAML and read JSON.  Raises ServerRefused."""
    import aiohttp

    url = server.rstrip("/") + path
    headers = {"Content-Type": "application/x-yaml"}
    if user is not None:
        headers["Authorization"] = _login(user)
    limit = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.request(method, url, data=body, headers=headers) as response,
        ):
            text = await response.text()
            if response.status >= 400:
                raise ServerRefused(
                    f"{server} answered {response.status}: {_message(text)}{_hint(response.status)}"
                )
            try:
                return json.loads(text)
            except ValueError:
                raise ServerRefused(
                    f"{server} did not answer as Flowtide does; is the address right?"
                ) from None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise ServerRefused(
            f"{server} cannot be asked ({reason}); is the address right, does it run?"
        ) from None


def _login(user: str) -> str:
    if ":" not in user:
        raise ServerRefused("--user needs a name and a password: --user you@example.com:Password")
    return "Basic " + b64encode(user.encode()).decode()


def _message(text: str) -> str:
    try:
        body = json.loads(text)
    except ValueError:
        return text[:500]
    return str(body.get("message", text)) if isinstance(body, dict) else text[:500]


def _hint(status: int) -> str:
    return "; give a login with --user NAME:PASSWORD" if status == 401 else ""
