"""The kinds of secret backends: turns `secret.type` into the port."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowtide.errors import SecretInvalid
from flowtide.model.encrypted import KEY_SETTING
from flowtide.secrets.encryption import Encryption
from flowtide.secrets.environment import EnvironmentSecrets
from flowtide.secrets.file import FileSecrets, SecretsFile
from flowtide.secrets.port import Secrets

STORED_KINDS = frozenset({"embedded", "elasticsearch", "jdbc"})
"""The kinds under which secrets are saved with everything else; Kestra has a name for it in each of its shapes.

What is not saved there is looked up in the environment (SECR-11).
"""


def open_secrets(
    kind: str,
    environment: Mapping[str, str],
    *,
    options: Mapping[str, Any] | None = None,
    encryption: Encryption | None = None,
    folder: Path | None = None,
    with_environment: bool = True,
) -> Secrets:
    """Build the backend of a kind that reads from outside: `environment`, or `file`, which looks there as well.

    `environment` is that of the server; `options` are those of the kind; `folder` is where the file stands unless
    its option `path` says otherwise; without `with_environment` a file is all there is.  Raises SecretInvalid for a
    kind that is not there, or that lacks something.
    """
    own = EnvironmentSecrets(environment)
    if kind in (*STORED_KINDS, "environment"):
        return own
    if kind == "file":
        path, key = _file(options or {}, encryption, folder)
        return FileSecrets(path, key, own if with_environment else EnvironmentSecrets({}))
    raise SecretInvalid(
        f"secret.type is `{kind}`, which is not there; choose `environment`, `embedded` or `file`"
    )


def open_secrets_file(
    options: Mapping[str, Any], encryption: Encryption | None, folder: Path | None
) -> SecretsFile:
    """The file that `secret.type: file` reads, to be written.  Raises SecretInvalid."""
    path, key = _file(options, encryption, folder)
    return SecretsFile(path, key)


def _file(
    options: Mapping[str, Any], encryption: Encryption | None, folder: Path | None
) -> tuple[Path, Encryption]:
    unknown = sorted(set(options) - {"path"})
    if unknown:
        raise SecretInvalid(f"secret.file has no option `{unknown[0]}`; there is `path`")
    if encryption is None:
        raise SecretInvalid(
            f"secret.type `file` needs `{KEY_SETTING}`: 32 bytes in base64, as `openssl rand -base64 32` writes them"
        )
    given = options.get("path")
    if not given and folder is None:
        raise SecretInvalid("secret.file.path must be the path of the file")
    return Path(str(given)).expanduser() if given else Path(str(folder)) / "secrets.json", encryption
