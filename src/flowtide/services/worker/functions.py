"""The expression functions with input or output that a worker offers (C N07 to N11); called from threads."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from flowtide.errors import FlowtideError, TaskFailed
from flowtide.secrets import Secrets
from flowtide.storage import BlockingStorage, ExecutionFolder, check_readable

_READ_LIMIT_BYTES: Final = 16 * 1024 * 1024
_ABSENT: Final = {
    "http": "use a task of type io.kestra.plugin.core.http.Request and its output instead",
    "errorLogs": "workers of this version cannot read logs; {{ tasksWithState('FAILED') }} names what failed",
    "kv": "the key-value store is not part of this version",
    "fileURI": "namespace files are not part of this version",
    "credential": "managed credentials are not part of this version; use secret()",
}


def input_output_functions(
    *,
    tenant_id: str,
    folder: ExecutionFolder,
    ancestors: Collection[str],
    storage: BlockingStorage,
    secrets: Secrets,
    on_secret: Callable[[str], None],
) -> dict[str, Callable[..., Any]]:
    """The functions for the templates of one job."""

    def secret(key: str, namespace: str | None = None, subkey: str | None = None) -> str:
        value = secrets.find(
            tenant_id=tenant_id,
            namespace=namespace if isinstance(namespace, str) else folder.namespace,
            name=str(key),
            subkey=subkey,
        )
        on_secret(value)
        return value

    def read(path: str, namespace: str | None = None) -> str:
        text = str(path)
        if "://" not in text:
            raise TaskFailed(
                f"read({text[:100]!r}) names a file of the namespace; namespace files are not part of this "
                "version, pass the URI of a stored file"
            )
        if not text.startswith("kestra://"):
            scheme = text.split("://", maxsplit=1)[0]
            raise TaskFailed(
                f"read() cannot process the URI {text[:200]}: scheme {scheme[:20]} not supported"
            )
        check_readable(text, folder=folder, ancestors=ancestors)
        content = storage.get(tenant_id, text, maximum=_READ_LIMIT_BYTES)
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise TaskFailed(f"read(): the file {text[:300]} is not UTF-8 text") from None

    return {"secret": secret, "read": read, **{name: _refusal(name) for name in _ABSENT}}


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(*arguments: Any, **named: Any) -> Any:
        raise FlowtideError(f"{name}() cannot be used here: {_ABSENT[name]}")

    return refuse
