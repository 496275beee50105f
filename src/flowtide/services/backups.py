"""Backups of what is saved: everything but executions, in a file that any later version and any backend reads (BKP-1).

Out goes a file of lines: a header, an encrypted line for each thing, and a last one that counts them, so that a file
that was cut or changed is noticed.  In comes such a file, and everything in it is saved again, flows revision by
revision.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from flowtide import __version__
from flowtide.errors import FlowtideError, SecretInvalid
from flowtide.model.audit import resource_of
from flowtide.model.encrypted import Cipher
from flowtide.model.records import encode, format_date
from flowtide.model.resources import (
    KEY_VALUE_BODY_DECODER,
    NAMESPACE_FILE_BODY_DECODER,
    ResourceKind,
)
from flowtide.model.saved_secrets import SECRET_BODY_DECODER
from flowtide.services.catalog import Catalog
from flowtide.services.dedicated import CONFIGURATIONS, Dedicated
from flowtide.services.saving import ResourceClient
from flowtide.services.secret_keys import GENERATED_KEY
from flowtide.services.secret_store import SecretStore
from flowtide.storage import Storage

FORMAT: Final = "flowtide-backup"
VERSION: Final = 1
STORAGE_TENANT: Final = "main"
"""In whose storage backups stand, also those of other tenants: they are a matter of the instance."""

_CONFIGURED: Final = frozenset({ResourceKind.TENANT, ResourceKind.NAMESPACE})
_LEFT_OUT: Final = frozenset({ResourceKind.SESSION, ResourceKind.FLOW_REVISION, ResourceKind.IDEMPOTENCY})
_FIRST: Final = (
    ResourceKind.TENANT,
    ResourceKind.SETTING,
    ResourceKind.USER,
    ResourceKind.ROLE,
    ResourceKind.NAMESPACE,
)


class BackupUnusable(FlowtideError):
    """A file is no backup, was changed, or cannot be read with this key."""

    code = "backup-unusable"


class Backups:
    """Writes and reads backups of one installation, whose catalog is started."""

    def __init__(
        self, *, catalog: Catalog, client: ResourceClient, storage: Storage, secrets: SecretStore,
        dedicated: Dedicated, clock: Callable[[], datetime],
    ) -> None:  # fmt: skip  # a list of parts
        self._catalog = catalog
        self._client = client
        self._storage = storage
        self._secrets = secrets
        self._dedicated = dedicated
        self._clock = clock

    async def write(
        self, target: BinaryIO, cipher: Cipher | None, *, tenant: str | None, resources: Collection[str] = ()
    ) -> Mapping[str, int]:
        """Write everything, or what is of one tenant; `resources` limits it to some kinds.  Gives how many of each.

        Without `cipher` the file can be read by everybody, secrets too.  Raises BackupUnusable for a kind that is none.
        """
        created = self._clock()
        header = {
            "format": FORMAT,
            "version": VERSION,
            "flowtide": __version__,
            "created": format_date(created),
            "type": "FULL" if tenant is None else "TENANT",
            "encrypted": cipher is not None,
        }
        target.write(encode(header) + b"\n")
        counts: Counter[str] = Counter()
        number = 0
        wanted = {name.upper() for name in resources}
        unknown = wanted - {_name(kind) for kind in ResourceKind}
        if unknown:
            known = ", ".join(sorted({_name(kind) for kind in ResourceKind} - {""}))
            raise BackupUnusable(f"there are no {', '.join(sorted(unknown))} to be saved; there are {known}")
        tenants = sorted(self._catalog.tenants()) if tenant is None else [tenant]
        for kind in sorted(
            ResourceKind, key=lambda kind: _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
        ):
            if kind in _LEFT_OUT or (wanted and _name(kind) not in wanted):
                continue
            for owner in tenants:
                async for line in self._lines(owner, kind):
                    target.write(_sealed(line, cipher, created, number))
                    number += 1
                    counts[_name(kind)] += "thing" in line
        target.write(_sealed({"counts": counts, "lines": number}, cipher, created, number))
        return dict(sorted(counts.items()))

    async def _lines(self, tenant: str, kind: ResourceKind) -> AsyncIterator[dict[str, Any]]:
        for identifier, saved in self._catalog.list(kind, tenant):
            if kind is ResourceKind.SETTING and identifier == GENERATED_KEY:
                continue  # secrets are in the backup under the backup's own key
            place = {"tenant": tenant, "kind": kind.value, "id": identifier}
            if kind is ResourceKind.FLOW:
                namespace, _, flow_id = identifier.partition("/")
                sources = [each.source for each in self._catalog.revisions(tenant, namespace, flow_id)]
                yield {"thing": place, "revisions": sources}
                continue
            for uri in _files_of(kind, bytes(saved.body)):
                content = await self._storage.get(tenant, uri)
                yield {"file": {"tenant": tenant, "uri": uri}, "content": base64.b64encode(content).decode()}
            body = msgspec.json.decode(saved.body)
            if kind in _CONFIGURED:
                owner, name = self._owner(tenant, kind, identifier)
                for field, sealed in _configurations(body):
                    body[field] = self._dedicated.opened(owner, name, field, sealed)
            if kind is ResourceKind.SECRET:
                namespace, _, key = identifier.partition("/")
                body.pop("sealed", None)
                body["value"] = self._secrets.opened(tenant, namespace, key)
            yield {"thing": place, "body": body}

    async def read(
        self, source: BinaryIO, cipher: Cipher | None, *, to_tenant: str | None
    ) -> Mapping[str, int]:
        """Save everything in a backup again, over what is there; gives how many of each kind.

        `to_tenant` takes what is of one tenant to another one.  The whole file is checked before anything is saved.
        Raises BackupUnusable, and as `ResourceClient.save`.
        """
        header = header_of(source)
        if to_tenant is not None and header["type"] != "TENANT":
            raise BackupUnusable("only a backup of type TENANT can be restored to another tenant")
        if header["encrypted"] and cipher is None:
            raise BackupUnusable(
                "the backup is encrypted: give the key that it was made with (--encryption-key)"
            )
        begin = source.tell()
        for _ in _opened(source, header, cipher):
            pass
        source.seek(begin)
        counts: Counter[str] = Counter()
        for line in _opened(source, header, cipher):
            if "file" in line:
                tenant = to_tenant or line["file"]["tenant"]
                await self._storage.put(tenant, line["file"]["uri"], base64.b64decode(line["content"]))
            elif "thing" in line:
                kind = ResourceKind(line["thing"]["kind"])
                await self._save(to_tenant or line["thing"]["tenant"], kind, line)
                counts[_name(kind)] += 1
        return dict(sorted(counts.items()))

    async def _save(self, tenant: str, kind: ResourceKind, line: Mapping[str, Any]) -> None:
        identifier = line["thing"]["id"]
        if kind is ResourceKind.FLOW:
            namespace, _, flow_id = identifier.partition("/")
            for source in line["revisions"]:
                await self._client.save_flow(tenant, namespace, flow_id, source)
        elif kind is ResourceKind.SECRET:
            namespace, _, key = identifier.partition("/")
            secret = SECRET_BODY_DECODER.decode(encode({**line["body"], "sealed": {}}))
            await self._secrets.put(
                tenant,
                namespace,
                key,
                line["body"]["value"],
                description=secret.description,
                tags=secret.tags,
            )
        else:
            body = dict(line["body"])
            if kind in _CONFIGURED:
                owner, name = self._owner(tenant, kind, identifier)
                for field, options in _configurations(body):
                    body[field] = await self._dedicated.sealed(owner, name, field, options)
            await self._client.save(kind, tenant, identifier, encode(body))

    def _owner(self, tenant: str, kind: ResourceKind, identifier: str) -> tuple[str, str | None]:
        """Whose configurations a tenant or a namespace has: the tenant, and the namespace if it is one."""
        return (identifier, None) if kind is ResourceKind.TENANT else (tenant, identifier)


def header_of(source: BinaryIO) -> Mapping[str, Any]:
    """The first line of a backup, from the beginning.  Raises BackupUnusable."""
    source.seek(0)
    try:
        header = json.loads(source.readline(10_000))
    except (ValueError, UnicodeDecodeError):
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise BackupUnusable("this is no backup")
    if not isinstance(header.get("version"), int) or header["version"] > VERSION:
        raise BackupUnusable("the backup was made by a later version: restore it with that one")
    return header


def backup_uri(created: datetime, tenant: str | None) -> str:
    """Where a backup stands in the internal storage (BKP-7)."""
    kind = "full" if tenant is None else "tenant"
    return f"kestra:///backups/{kind}/backup-{created:%Y%m%d%H%M%S}.kestra"


def write_to(path: Path) -> BinaryIO:
    """A new file that only its owner reads."""
    path.touch(mode=0o600)
    return path.open("wb")


def _configurations(body: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """What is encrypted in a tenant or a namespace, by its field."""
    return [(field, body[field]) for field in CONFIGURATIONS if isinstance(body.get(field), Mapping)]


def _name(kind: ResourceKind) -> str:
    return resource_of(kind) or kind.value.replace("-", "_").upper()


def _files_of(kind: ResourceKind, body: bytes) -> list[str]:
    if kind is ResourceKind.NAMESPACE_FILE:
        return [revision.uri for revision in NAMESPACE_FILE_BODY_DECODER.decode(body).revisions]
    if kind is ResourceKind.KEY_VALUE:
        uri = KEY_VALUE_BODY_DECODER.decode(body).uri
        return [] if uri is None else [uri]
    return []


def _sealed(line: Mapping[str, Any], cipher: Cipher | None, created: datetime, number: int) -> bytes:
    content = encode(line)
    if cipher is not None:
        # Bound to the backup and its place there, so that lines cannot be exchanged or left out.
        place = f"{FORMAT}/{format_date(created)}/{number}"
        content = encode(cipher.encrypt(content.decode(), tenant_id=place, place=place))
    return content + b"\n"


def _opened(
    source: BinaryIO, header: Mapping[str, Any], cipher: Cipher | None
) -> Iterator[Mapping[str, Any]]:
    for number, content in enumerate(source):
        try:
            line = json.loads(content)
            if header["encrypted"]:
                assert cipher is not None
                line = json.loads(cipher.decrypt(line, tenant_id=f"{FORMAT}/{header['created']}/{number}"))
        except (SecretInvalid, ValueError):
            raise BackupUnusable(
                "the backup was changed, or made with another key (--encryption-key)"
            ) from None
        if "counts" in line:
            if line["lines"] != number:
                break
            return
        yield line
    raise BackupUnusable("the backup is not whole: its last lines are missing")
