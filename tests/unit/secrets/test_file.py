"""Secrets in an encrypted file (SEC-01, SECR-11)."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from flowtide.errors import SecretInvalid, SecretMissing
from flowtide.secrets import Encryption, open_secrets, open_secrets_file
from flowtide.secrets.file import FileSecrets, SecretsFile

KEY = Encryption(bytes(range(32)))
ENVIRONMENT = {"SECRET_OTHER": base64.b64encode(b"from outside").decode()}


@pytest.fixture
def file(tmp_path: Path) -> SecretsFile:
    """The file, as the command has it."""
    return open_secrets_file({}, KEY, tmp_path)


@pytest.fixture
def secrets(tmp_path: Path) -> FileSecrets:
    """The backend, as a server has it."""
    opened = open_secrets("file", ENVIRONMENT, encryption=KEY, folder=tmp_path)
    assert isinstance(opened, FileSecrets)
    return opened


def find(secrets: FileSecrets, name: str, namespace: str = "a.b.c", tenant: str = "main") -> str:
    return secrets.find(tenant_id=tenant, namespace=namespace, name=name)


def test_the_nearest_namespace_has_it(file: SecretsFile, secrets: FileSecrets) -> None:
    """N07: its own, then those of the namespaces above, then the environment; what is set is seen at once."""
    assert find(secrets, "OTHER") == "from outside"
    file.set(tenant_id="main", namespace="a", name="KEY", value="far")
    assert find(secrets, "KEY") == "far"
    file.set(tenant_id="main", namespace="a.b", name="KEY", value="near")
    assert (find(secrets, "KEY"), find(secrets, "KEY", "a")) == ("near", "far")
    for namespace, tenant in (("other", "main"), ("a.b", "other")):
        with pytest.raises(SecretMissing, match="flowtide secrets set"):
            find(secrets, "KEY", namespace, tenant)
    assert file.delete(tenant_id="main", namespace="a.b", name="KEY")
    assert not file.delete(tenant_id="main", namespace="a.b", name="KEY")
    assert find(secrets, "KEY") == "far"


def test_a_field_of_a_secret(file: SecretsFile, secrets: FileSecrets) -> None:
    """N07: `subkey` picks from a JSON object."""
    file.set(tenant_id="main", namespace="a", name="JSON", value='{"password": "x"}')
    assert secrets.find(tenant_id="main", namespace="a", name="JSON", subkey="password") == "x"


def test_nobody_else_can_read_it(file: SecretsFile, tmp_path: Path) -> None:
    """Neither values nor names are in the file, which only its owner may open."""
    file.set(tenant_id="main", namespace="company", name="API_KEY", value="hunter2")
    path = tmp_path / "secrets.json"
    content = path.read_bytes()
    assert not any(text in content for text in (b"hunter2", b"API_KEY", b"company"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir() if each.suffix not in (".lock", ".json")] == []


def test_what_cannot_be_read_says_why(file: SecretsFile, tmp_path: Path) -> None:
    """Another key, a changed file, a missing key: the message names the setting and shows nothing."""
    file.set(tenant_id="main", namespace="a", name="KEY", value="hunter2")
    with pytest.raises(SecretInvalid, match=r"encryption\.secret-key"):
        open_secrets_file({}, Encryption(bytes(32)), tmp_path).read()
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(SecretInvalid, match="no file of secrets"):
        file.read()
    with pytest.raises(SecretInvalid, match=r"needs .*encryption\.secret-key"):
        open_secrets("file", {}, folder=tmp_path)
    with pytest.raises(SecretInvalid, match="no option `paht`"):
        open_secrets("file", {}, options={"paht": "x"}, encryption=KEY, folder=tmp_path)
