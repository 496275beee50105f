"""Encrypted values in jobs: texts are put in their place for rendering, and what shows a secret is encrypted again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flowtide.errors import SecretInvalid, TaskFailed
from flowtide.model.encrypted import MARKER_BYTES, NO_KEY, Cipher, encrypted_places
from flowtide.model.jobs import Evaluate
from flowtide.secrets import Mask


def mentions_encrypted(variables: msgspec.Raw) -> bool:
    """Whether the variables of a job may hold an encrypted value; costs one search over the bytes."""
    return MARKER_BYTES in bytes(variables)


def open_encrypted(
    variables: dict[str, Any], cipher: Cipher | None, *, tenant_id: str, masks: tuple[Mask, ...]
) -> None:
    """Put texts in the place of encrypted values, and have them masked (V22, R11).  Raises SecretInvalid."""
    for container, key, value in encrypted_places(variables):
        if cipher is None:
            raise SecretInvalid(f"an encrypted value is named, and on this server {NO_KEY}")
        text = cipher.decrypt(value, tenant_id=tenant_id)
        for mask in masks:
            mask.add(text)
        container[key] = text


def protected_values(
    job: Evaluate, values: Mapping[str, Any], cipher: Cipher | None, *, given: Mask, secrets: Mask
) -> dict[str, Any]:
    """The values of a job as they may be recorded.

    `given` masks what the job's variables held encrypted, `secrets` also what `secret()` gave.  Texts of protected
    properties that show one are encrypted when there is a key.  Raises TaskFailed when a property that is not
    protected shows the value of a SECRET, because it would be recorded as it is.
    """
    recorded: dict[str, Any] = {}
    for name, value in values.items():
        if name in job.protected:
            place = f"{job.execution_id}/{job.run_id}/{name}"
            recorded[name] = (
                value if cipher is None else protected(value, cipher, secrets, job.tenant_id, place)
            )
        elif _shows(value, given):
            raise TaskFailed(
                f"property `{name}` shows the value of a SECRET, and everybody could read it there; "
                "use the SECRET in a task instead"
            )
        else:
            recorded[name] = value
    return recorded


def _shows(value: Any, mask: Mask) -> bool:
    if isinstance(value, str):
        return mask.mask(value) != value
    if isinstance(value, dict):
        return any(_shows(key, mask) or _shows(child, mask) for key, child in value.items())
    return isinstance(value, list | tuple) and any(_shows(child, mask) for child in value)


def protected(value: Any, cipher: Cipher, secrets: Mask, tenant_id: str, place: str) -> Any:
    """The value with texts that show a secret encrypted, for being recorded at `place`.

    Raises TaskFailed when a key shows one.
    """
    if isinstance(value, str):
        if not _shows(value, secrets):
            return value
        return cipher.encrypt(value, tenant_id=tenant_id, place=place)
    if isinstance(value, dict):
        if any(_shows(key, secrets) for key in value):
            raise TaskFailed("the key of a mapping shows the value of a SECRET; name the key otherwise")
        return {
            key: protected(child, cipher, secrets, tenant_id, f"{place}/{key}")
            for key, child in value.items()
        }
    if isinstance(value, list | tuple):
        return [
            protected(child, cipher, secrets, tenant_id, f"{place}/{index}")
            for index, child in enumerate(value)
        ]
    return value
