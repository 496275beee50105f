"""The expression functions with input or output that a worker offers (C N07 to N11); called from threads."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from flowtide.errors import FlowtideError, TaskFailed
from flowtide.secrets import Secrets
from flowtide.services.platform import Platforms
from flowtide.services.platform.files import ReadableFiles
from flowtide.storage import BlockingStorage, ExecutionFolder, check_readable

_READ_LIMIT_BYTES: Final = 16 * 1024 * 1024
_ABSENT: Final = ("credential", "errorLogs", "fileExists", "fileSize", "fileURI", "http", "isFileEmpty", "kv")


def input_output_functions(
    *,
    tenant_id: str,
    folder: ExecutionFolder,
    ancestors: Collection[str],
    storage: BlockingStorage,
    secrets: Secrets,
    on_secret: Callable[[str], None],
    platforms: Platforms | None = None,
    files: ReadableFiles | None = None,
) -> dict[str, Callable[..., Any]]:
    """The functions for the templates of one job.

    Without `platforms`, on a worker with nothing around it, there are only secrets and the files of executions.
    """
    if platforms is not None:
        files = files or platforms.readable_files(tenant_id, folder, ancestors)
        return platforms.functions(tenant_id, folder, files, secrets=secrets, on_secret=on_secret)

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
                f"read({text[:100]!r}) names a file of the namespace, and this worker was started without them"
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
        raise FlowtideError(f"{name}() cannot be used here: this worker was started without what it reads")

    return refuse
