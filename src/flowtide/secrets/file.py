"""Secrets in an encrypted file: names in namespaces of tenants, written by `flowtide secrets` and read by servers.

The whole file is one ciphertext under the key of `encryption.secret-key`, so that neither values nor names can be read
from it.  A server reads it again when it changes; servers on several machines share it, or each has a copy.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from flowtide.errors import SecretInvalid, SecretMissing
from flowtide.model.encrypted import KEY_SETTING
from flowtide.secrets.encryption import Encryption
from flowtide.secrets.environment import field_of
from flowtide.secrets.port import Secrets, missing

_PLACE: Final = "secrets file"
_NO_TENANT: Final = ""  # the file is of all tenants
_Names = dict[str, dict[str, dict[str, str]]]  # tenant -> namespace -> name -> value


class FileSecrets(Secrets):
    """The secrets of a file, and beyond them those of `fallback` (SECR-11).  Safe to call from threads.

    A namespace sees the secrets of those above it; its own ones come first (N07).
    """

    def __init__(self, path: Path, encryption: Encryption, fallback: Secrets) -> None:
        """`path` need not exist yet."""
        self._file = SecretsFile(path, encryption)
        self._fallback = fallback

    def find(self, *, tenant_id: str, namespace: str, name: str, subkey: str | None = None) -> str:
        """The value.  Raises SecretMissing, and SecretInvalid for a file that cannot be read."""
        namespaces = self._file.read().get(tenant_id, {})
        above = namespace
        while above:
            value = namespaces.get(above, {}).get(name)
            if value is not None:
                return value if subkey is None else field_of(value, name, subkey)
            above = above.rpartition(".")[0]
        try:
            return self._fallback.find(tenant_id=tenant_id, namespace=namespace, name=name, subkey=subkey)
        except SecretMissing:
            if subkey is not None:
                raise
            advice = f"set it with: flowtide secrets set --namespace {namespace} {name}"
            raise SecretMissing(missing(name, namespace, advice)) from None

    def names(self, tenant_id: str) -> Sequence[tuple[str, str]]:
        """See Secrets."""
        namespaces = self._file.read().get(tenant_id, {})
        return sorted((namespace, name) for namespace, names in namespaces.items() for name in names)


class SecretsFile:
    """The file itself."""

    def __init__(self, path: Path, encryption: Encryption) -> None:
        self._path = path
        self._encryption = encryption
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None  # which state of the file was read
        self._names: _Names = {}

    def read(self) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        """What is in the file; nothing when there is none.  Raises SecretInvalid."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unreadable(error.strerror or str(error)) from None
        state = (status.st_ino, status.st_mtime_ns, status.st_size)
        with self._lock:
            if self._seen != state:
                self._names = self._decrypted()
                self._seen = state
            return self._names

    def set(self, *, tenant_id: str, namespace: str, name: str, value: str) -> None:
        """Write a secret.  Raises SecretInvalid, OSError."""
        with self._changing() as names:
            names.setdefault(tenant_id, {}).setdefault(namespace, {})[name] = value

    def delete(self, *, tenant_id: str, namespace: str, name: str) -> bool:
        """Remove a secret; whether there was one.  Raises SecretInvalid, OSError."""
        with self._changing() as names:
            return names.get(tenant_id, {}).get(namespace, {}).pop(name, None) is not None

    @contextmanager
    def _changing(self) -> Iterator[_Names]:
        """Read, let the block change, and write whole; others who write meanwhile wait."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        guard = self._path.with_name(f".{self._path.name}.lock")
        with guard.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            names = self._decrypted() if self._path.exists() else {}
            yield names
            sealed = self._encryption.encrypt(
                json.dumps(names, sort_keys=True), tenant_id=_NO_TENANT, place=_PLACE
            )
            partial = self._path.with_name(f".{self._path.name}.{uuid4().hex}")
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "w") as target:
                    json.dump(sealed, target)
                    target.flush()
                    os.fsync(target.fileno())
                partial.replace(self._path)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise

    def _decrypted(self) -> _Names:
        try:
            sealed: Any = json.loads(self._path.read_text())
        except OSError as error:
            raise self._unreadable(error.strerror or str(error)) from None
        except ValueError:
            raise self._unreadable("it is no file of secrets") from None
        try:
            names: _Names = json.loads(self._encryption.decrypt(sealed, tenant_id=_NO_TENANT))
        except (SecretInvalid, ValueError):
            raise self._unreadable(f"it was changed, or written with another `{KEY_SETTING}`") from None
        return names

    def _unreadable(self, reason: str) -> SecretInvalid:
        return SecretInvalid(f"the file of secrets {self._path} cannot be read: {reason}")
