"""The port of secrets: a name in a namespace of a tenant comes in, its value goes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence


class Secrets(ABC):
    """Where the function `secret()` looks.  Called from threads; a backend may take its time."""

    @abstractmethod
    def find(self, *, tenant_id: str, namespace: str, name: str, subkey: str | None = None) -> str:
        """The value of a secret.

        `subkey` picks a field of a secret that is a JSON object.  Raises SecretMissing when there is none,
        SecretInvalid when what is stored cannot be read; neither message shows a value.
        """

    def names(self, tenant_id: str) -> Sequence[tuple[str, str]]:
        """The secrets that the backend can list, as namespace and name.  Raises SecretInvalid."""
        return ()


def missing(name: str, namespace: str, advice: str) -> str:
    """The sentence for a secret that is not there."""
    return f"there is no secret `{name}` for the namespace `{namespace}`; {advice}"
