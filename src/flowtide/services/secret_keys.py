"""The keys under which secrets are saved: from the settings, or one that is generated once and kept.

A generated key is a file in the data folder on the embedded log; on Kafka, where servers share no folder, it is a
setting on the log (decision 0045).
"""

from __future__ import annotations

import base64
import os
import secrets as system_secrets
from pathlib import Path

import msgspec
import structlog

from flowtide.errors import ResourceConflict, SecretInvalid
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.encrypted import KEY_SETTING
from flowtide.model.records import Value, encode
from flowtide.model.resources import ResourceKind
from flowtide.secrets import Encryption
from flowtide.secrets.keyring import Keyring, encryption_of_phrase
from flowtide.services.catalog import Catalog
from flowtide.services.saving import ResourceClient
from flowtide.settings import QueueType, Settings

GENERATED_KEY = "flowtide.secrets.key"
"""The setting that keeps a generated key; no endpoint, audit entry or backup shows it."""

_KEY_BYTES = 32
_FILE = "secrets.key"

logger = structlog.get_logger(__name__)


class _GeneratedKey(Value, frozen=True):
    key: str  # base64


_DECODER = msgspec.json.Decoder(_GeneratedKey)


class SecretKeys:
    """The keys of an installation.  State: the generated one, once it was read."""

    def __init__(
        self, settings: Settings, encryption: Encryption | None, catalog: Catalog, client: ResourceClient
    ) -> None:
        """`encryption` is that of the configured key.  Raises SettingsError for a phrase that is too short."""
        phrase = settings.secret.options.get("secret")
        own = (
            [] if not phrase else [encryption_of_phrase(str(phrase), f"secret.{settings.secret.type}.secret")]
        )
        self._configured = [*own, *([] if encryption is None else [encryption])]
        embedded = settings.queue.type is QueueType.EMBEDDED
        self._file: Path | None = settings.data_path / _FILE if embedded else None
        self._catalog = catalog
        self._client = client
        self._generated: Encryption | None = None

    def reading(self) -> Keyring:
        """Every key that is known.  Raises SecretInvalid when there is none."""
        generated = self._found()
        keys = [*self._configured, *([] if generated is None else [generated])]
        if not keys:
            raise SecretInvalid(
                f"the key of the secrets is gone; set `{KEY_SETTING}` to the one that they were saved with"
            )
        return Keyring(keys)

    async def writing(self) -> Keyring:
        """The same, after a key was generated where none is configured.  Raises as `ResourceClient.save`, OSError."""
        if not self._configured and self._found() is None:
            await self._generate()
        return self.reading()

    def _found(self) -> Encryption | None:
        if self._generated is None:
            self._generated = self._in_file() if self._file is not None else self._on_log()
        return self._generated

    def _in_file(self) -> Encryption | None:
        assert self._file is not None
        try:
            return Encryption(base64.b64decode(self._file.read_bytes(), validate=True))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise SecretInvalid(f"the key of the secrets, {self._file}, cannot be read: {error}") from None

    def _on_log(self) -> Encryption | None:
        saved = self._catalog.get(ResourceKind.SETTING, SYSTEM_TENANT, GENERATED_KEY)
        if saved is None or saved.deleted:
            return None
        return Encryption(base64.b64decode(_DECODER.decode(saved.body).key))

    async def _generate(self) -> None:
        key = base64.b64encode(system_secrets.token_bytes(_KEY_BYTES))
        if self._file is not None:
            _write_once(self._file, key)
            logger.info(
                "a key for secrets was generated", file=str(self._file), advice=f"or set {KEY_SETTING}"
            )
            return
        body = encode(_GeneratedKey(key=key.decode()))
        try:
            await self._client.save(ResourceKind.SETTING, SYSTEM_TENANT, GENERATED_KEY, body, 0)
        except ResourceConflict:
            await self._catalog.catch_up()  # another server was faster
            return
        logger.warning(
            "a key for secrets was generated and stands on the log beside them; whoever reads the topics reads the "
            "secrets",
            advice=f"set {KEY_SETTING} on every server",
        )


def _write_once(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all; one that is there stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as target:
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        try:
            os.link(partial, path)
        except FileExistsError:
            return
    finally:
        partial.unlink(missing_ok=True)
