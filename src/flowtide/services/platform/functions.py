"""The expression functions with input or output (C §8): what a template calls comes in, plain values go out.

Called from threads.  Every function checks what the flow that calls it may reach.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol, TypeVar

from flowtide.errors import FileMissing, FlowtideError, TaskFailed
from flowtide.model.outbound import OutboundRules
from flowtide.model.platform import Executions
from flowtide.secrets import Secrets
from flowtide.services.platform.files import Located, ReadableFiles
from flowtide.services.platform.key_values import TenantKeyValues
from flowtide.services.platform.namespace_files import checked_path
from flowtide.services.platform.namespaces import Namespaces
from flowtide.services.platform.web_requests import fetch
from flowtide.storage import ExecutionFolder, namespace_file

_Result = TypeVar("_Result")
_READ_LIMIT_BYTES: Final = 16 * 1024 * 1024
_WAITS_SECONDS: Final = (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0)  # for log lines that are still on their way (N18)
_ABSENT: Final = {
    "appLink": "apps are not part of this version",
    "assets": "assets are not part of this version",
}


class Around(Protocol):
    """What of a platform the functions use."""

    @property
    def key_values(self) -> TenantKeyValues: ...

    @property
    def executions(self) -> Executions: ...

    @property
    def namespaces(self) -> Namespaces: ...

    @property
    def outbound(self) -> OutboundRules: ...


class AccessTokens(Protocol):
    """Where `credential()` gets tokens."""

    async def token(self, tenant: str, namespace: str, name: str) -> str:
        """The access token of a credential for flows of a namespace."""
        ...


class Waiting(Protocol):
    """How a thread waits for the event loop."""

    def fresh(self) -> None:
        """Wait until what was saved before can be read."""
        ...

    def wait_for(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        """Wait for a coroutine."""
        ...


def expression_functions(
    *,
    platform: Around,
    tenant: str,
    folder: ExecutionFolder,
    files: ReadableFiles,
    bridge: Waiting,
    secrets: Secrets,
    on_secret: Callable[[str], None],
    check_secrets: Callable[[], None] = lambda: None,
    credentials: AccessTokens | None = None,
) -> dict[str, Callable[..., Any]]:
    """The functions for the templates of one flow; see `Platforms.functions`."""
    functions = _Functions(
        platform, tenant, folder, files, bridge, secrets, on_secret, check_secrets, credentials
    )
    return {
        "credential": functions.credential,
        "secret": functions.secret,
        "kv": functions.kv,
        "read": functions.read,
        "fileURI": functions.file_uri,
        "fileExists": functions.file_exists,
        "fileSize": functions.file_size,
        "isFileEmpty": functions.is_file_empty,
        "http": functions.http,
        "errorLogs": functions.error_logs,
        "randomPort": random_port,
        **{name: _refusal(name) for name in _ABSENT},
    }


class _Functions:
    """The functions of one flow, with the names and arguments that templates use."""

    def __init__(
        self,
        platform: Around,
        tenant: str,
        folder: ExecutionFolder,
        files: ReadableFiles,
        bridge: Waiting,
        secrets: Secrets,
        on_secret: Callable[[str], None],
        check_secrets: Callable[[], None],
        credentials: AccessTokens | None,
    ) -> None:
        self._credentials = credentials
        self._check_secrets = check_secrets
        self._platform = platform
        self._tenant = tenant
        self._folder = folder
        self._files = files
        self._bridge = bridge
        self._secrets = secrets
        self._on_secret = on_secret

    def secret(self, key: str, namespace: Any = None, subkey: str | None = None) -> str:
        """A secret (N07)."""
        self._check_secrets()
        owner = self._namespace(namespace)
        self._platform.namespaces.check_access(self._folder.namespace, owner)
        self._bridge.fresh()
        value = self._secrets.find(tenant_id=self._tenant, namespace=owner, name=str(key), subkey=subkey)
        self._on_secret(value)
        return value

    def credential(self, key: str) -> str:
        """The current access token of a credential (CRED-02)."""
        self._check_secrets()
        if self._credentials is None:
            raise FlowtideError(
                "credential() cannot be used here: this process was started without credentials"
            )
        self._bridge.fresh()
        token = self._bridge.wait_for(self._credentials.token(self._tenant, self._folder.namespace, str(key)))
        self._on_secret(token)
        return token

    def kv(self, key: str, namespace: Any = None, errorOnMissing: Any = True) -> Any:  # noqa: N803 - as templates write it
        """A value of the key-value store (N11)."""
        owner = self._namespace(namespace)
        self._bridge.fresh()
        found = self._platform.key_values.peek(owner, str(key))
        if found is not None:
            return found[1]
        if errorOnMissing is None or _is_true(errorOnMissing):
            raise TaskFailed(
                f"The key '{str(key)[:256]}' does not exist in the namespace '{owner}'. Set it, or add "
                "errorOnMissing=false to get null."
            )
        return None

    def read(self, path: Any, namespace: Any = None, revision: Any = None) -> str:
        """The content of a file as text (N09, FIL-02)."""
        located = self._located("read", path, namespace, revision)
        content = self._files.read(located, maximum=_READ_LIMIT_BYTES)
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise TaskFailed(f"the file {located.shown[:300]} is not UTF-8 text") from None

    def file_uri(self, path: Any, namespace: Any = None) -> str:
        """The URI of a namespace file; its content is not read (N10)."""
        owner = self._namespace(namespace)
        self._platform.namespaces.check_access(self._folder.namespace, owner)
        return namespace_file(owner, checked_path(str(path)))

    def file_exists(self, path: Any, namespace: Any = None) -> bool:
        """Whether there is a file (N36)."""
        try:
            return self._files.exists(self._located("fileExists", path, namespace, None))
        except FileMissing:
            return False

    def file_size(self, path: Any, namespace: Any = None) -> int:
        """The bytes of a file (N35)."""
        return self._files.size(self._located("fileSize", path, namespace, None))

    def is_file_empty(self, path: Any, namespace: Any = None) -> bool:
        """Whether a file has no bytes (N37)."""
        return self._files.size(self._located("isFileEmpty", path, namespace, None)) == 0

    def http(
        self,
        uri: str,
        method: str = "GET",
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        contentType: str = "application/json",  # noqa: N803 - as templates write it
        headers: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        accept: str = "application/json",
    ) -> Any:
        """The answer to a request, parsed by its content type (N34)."""
        return self._bridge.wait_for(
            fetch(
                str(uri),
                method=str(method),
                query=query or {},
                body=body,
                content_type=str(contentType),
                headers=headers or {},
                options=options or {},
                accept=str(accept),
                rules=self._platform.outbound,
            )
        )

    def error_logs(self) -> list[dict[str, Any]]:
        """The log lines at ERROR of the execution; they may be on their way for some seconds (N18)."""
        return self._bridge.wait_for(self._error_logs())

    async def _error_logs(self) -> list[dict[str, Any]]:
        for wait_seconds in (*_WAITS_SECONDS, None):
            found = await self._platform.executions.error_logs(self._folder.execution_id)
            if found or wait_seconds is None:
                return [dict(line) for line in found]
            await asyncio.sleep(wait_seconds)
        return []

    def _namespace(self, namespace: Any) -> str:
        """The namespace that is meant: page 140 passes the variable `namespace`, a map, for the flow's own."""
        return namespace if isinstance(namespace, str) and namespace else self._folder.namespace

    def _located(self, function: str, path: Any, namespace: Any, revision: Any) -> Located:
        if isinstance(path, list | tuple) and len(path) == 1:
            path = path[0]  # what jq gives is always a list (trap 54 of catalogue B)
        if not isinstance(path, str):
            raise TaskFailed(f"{function}() needs a path or URI as text")
        if revision is not None and not (isinstance(revision, int) and revision > 0):
            raise TaskFailed(f"the revision that {function}() is asked for must be a whole number from 1")
        self._bridge.fresh()
        return self._files.locate(path, namespace=self._namespace(namespace), revision=revision)


def random_port() -> int:
    """A port of this host that nobody listens on now (N33)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_true(value: Any) -> bool:
    return value.strip().lower() == "true" if isinstance(value, str) else bool(value)


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(*arguments: Any, **named: Any) -> Any:
        raise FlowtideError(f"{name}() cannot be used here: {_ABSENT[name]}")

    return refuse
