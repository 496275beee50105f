"""The key-value store of a tenant: pairs are resources; values beyond a few kilobytes stand in files (KVS-01).

In come keys and typed values; out go pairs.  The state is the catalog's.  What is expired is not there for readers,
whatever still waits for its removal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog

from flowtide.errors import FileMissing, FlowtideError, ResourceConflict, ValueInvalid
from flowtide.model.platform import KeyValue, ValueType
from flowtide.model.records import encode
from flowtide.model.resources import KEY_VALUE_BODY_DECODER, KeyValueBody, Resource, ResourceKind
from flowtide.model.typed_values import stored_value, type_of
from flowtide.services.platform.namespaces import checked_name
from flowtide.services.platform.tenant_store import TenantStore
from flowtide.storage import key_value_file

LARGEST_INLINE_BYTES: Final = 4 * 1024
_LONGEST_KEY: Final = 256
_KIND: Final = ResourceKind.KEY_VALUE


class _Expiry(msgspec.Struct):
    """What of a pair's body says whether it is there."""

    expires: datetime | None = None


_EXPIRY_DECODER: Final[msgspec.json.Decoder[_Expiry]] = msgspec.json.Decoder(_Expiry)

logger = structlog.get_logger(__name__)


class TenantKeyValues(TenantStore):
    """`flowtide.model.platform.KeyValues` of one tenant, for flows of one namespace (`reader`) or for the API."""

    async def find(self, namespace: str, key: str) -> tuple[KeyValue, Any] | None:
        """See KeyValues."""
        await self._freshness.wait()
        found = self._look_up(namespace, key)
        if found is None:
            return None
        pair, body = found
        if body.uri is None:
            return pair, _inline(body)
        try:
            content = await self._storage.get(self._tenant, body.uri)
        except FileMissing:
            # It was overwritten while we read: the next look finds what replaced it.
            await self._freshness.wait()
            again = self._look_up(namespace, key)
            if again is None:
                return None
            pair, body = again
            content = b"" if body.uri is None else await self._storage.get(self._tenant, body.uri)
            return pair, _inline(body) if body.uri is None else msgspec.json.decode(content)
        return pair, msgspec.json.decode(content)

    def peek(self, namespace: str, key: str) -> tuple[KeyValue, Any] | None:
        """As `find`, from what the catalog has now; for threads, and for code that cannot wait."""
        found = self._look_up(namespace, key)
        if found is None:
            return None
        pair, body = found
        if body.uri is None:
            return pair, _inline(body)
        return pair, msgspec.json.decode(self._storage.blocking.get(self._tenant, body.uri))

    async def list(self, namespace: str, prefix: str = "") -> Sequence[KeyValue]:
        """See KeyValues."""
        self._namespaces.check_access(self._reader, namespace)
        await self._freshness.wait()
        things = self._catalog.below(_KIND, self._tenant, f"{namespace}/{prefix}")
        return await asyncio.to_thread(lambda: list(self._pairs(things)))

    async def all(self) -> Sequence[KeyValue]:
        """See KeyValues."""
        return await self.described(await self.names(lambda namespace, key: True))

    async def names(
        self, fits: Callable[[str, str], bool], namespace: str | None = None
    ) -> Sequence[tuple[str, str]]:
        """The namespaces and keys of the pairs that are not expired and fit, by namespace and key.

        Only names and dates of expiry are looked at, so that one page of many pairs costs little.
        """
        await self._freshness.wait()
        beginning = "" if namespace is None else f"{namespace}/"
        things = self._catalog.below(_KIND, self._tenant, beginning)

        def look() -> list[tuple[str, str]]:
            now = self._clock()
            found = []
            for identifier, resource in things:
                owner, _, key = identifier.partition("/")
                if fits(owner, key):
                    expires = _EXPIRY_DECODER.decode(resource.body).expires
                    if expires is None or expires > now:
                        found.append((owner, key))
            found.sort()  # the identifiers' own order puts `a.b/k` before `a/k`
            return found

        return await asyncio.to_thread(look)

    async def described(self, names: Sequence[tuple[str, str]]) -> Sequence[KeyValue]:
        """The pairs of these names, without those that went meanwhile."""

        def look() -> Sequence[KeyValue]:
            found = (self._look_up(namespace, key) for namespace, key in names)
            return [each[0] for each in found if each is not None]

        return await asyncio.to_thread(look)

    async def set(
        self,
        namespace: str,
        key: str,
        value: Any,
        *,
        type: ValueType | None = None,  # noqa: A002 - the word of the field
        ttl: timedelta | None = None,
        description: str | None = None,
        overwrite: bool = True,
        by: str | None = None,
    ) -> KeyValue:
        """See KeyValues."""
        self._namespaces.check_access(self._reader, checked_name(namespace))
        _check_key(key)
        if ttl is not None and ttl <= timedelta(0):
            raise ValueInvalid("the time to live must be longer than nothing")
        chosen = type or type_of(value)
        content = encode(stored_value(value, chosen))
        await self._freshness.wait()
        now = self._clock()
        resource = self._catalog.get(_KIND, self._tenant, f"{namespace}/{key}")
        before = None if resource is None else KEY_VALUE_BODY_DECODER.decode(resource.body)
        is_live = before is not None and not _expired(before, now)
        expected: int | None = None
        if not overwrite:
            if is_live:
                raise _exists(namespace, key)
            expected = 0 if resource is None else resource.revision
        uri = None
        if len(content) > LARGEST_INLINE_BYTES:
            uri = key_value_file(namespace, key, self._new_identifier())
            await self._storage.put(self._tenant, uri, content)
        try:
            expires = None if ttl is None else now + ttl
        except OverflowError:
            raise ValueInvalid("the time to live reaches beyond the year 9999") from None
        body = KeyValueBody(
            type=chosen.value,
            created=before.created if before is not None and is_live else now,
            value=msgspec.Raw(content if uri is None else b"null"),
            uri=uri,
            expires=expires,
            description=description or None,
        )
        try:
            saved = await self._client.save(
                _KIND, self._tenant, f"{namespace}/{key}", encode(body), expected, by=by
            )
        except ResourceConflict:
            if uri is not None:
                await self._storage.delete(self._tenant, uri)
            if expected is None:
                raise
            raise _exists(namespace, key) from None
        await self._drop(before)
        return _pair(namespace, key, saved, body)

    async def delete(self, namespace: str, key: str, *, by: str | None = None) -> bool:
        """See KeyValues."""
        self._namespaces.check_access(self._reader, namespace)
        await self._freshness.wait()
        resource = self._catalog.get(_KIND, self._tenant, f"{namespace}/{key}")
        if resource is None:
            return False
        was_live = not _expired(KEY_VALUE_BODY_DECODER.decode(resource.body), self._clock())
        return await self._remove(f"{namespace}/{key}", resource, by=by) and was_live

    async def purge(self, namespaces: Sequence[str] | None, *, children: bool, expired_only: bool) -> int:
        """See KeyValues."""
        for namespace in namespaces or ():
            self._namespaces.check_access(self._reader, namespace)
        await self._freshness.wait()
        now = self._clock()
        chosen = []
        for identifier, resource in self._within(namespaces, children):
            if not expired_only or _expired(KEY_VALUE_BODY_DECODER.decode(resource.body), now):
                chosen.append((identifier, resource))
        if self._reader is not None and namespaces is None:
            chosen = [each for each in chosen if self._may(each[0].partition("/")[0])]
        return await self._remove_all(chosen)

    async def purge_expired(self, maximum: int) -> int:
        """Remove at most `maximum` expired pairs; gives how many."""
        now = self._clock()
        chosen = []
        for identifier, resource in self._catalog.list(_KIND, self._tenant):
            expires = _EXPIRY_DECODER.decode(resource.body).expires
            if expires is not None and expires <= now:
                chosen.append((identifier, resource))
                if len(chosen) >= maximum:
                    break
        return await self._remove_all(chosen)

    # Inside

    def _look_up(self, namespace: str, key: str) -> tuple[KeyValue, KeyValueBody] | None:
        self._namespaces.check_access(self._reader, namespace)
        resource = self._catalog.get(_KIND, self._tenant, f"{namespace}/{key}")
        if resource is None:
            return None
        body = KEY_VALUE_BODY_DECODER.decode(resource.body)
        if _expired(body, self._clock()):
            return None
        return _pair(namespace, key, resource, body), body

    def _pairs(self, things: Iterator[tuple[str, Resource]]) -> Iterator[KeyValue]:
        now = self._clock()
        for identifier, resource in things:
            body = KEY_VALUE_BODY_DECODER.decode(resource.body)
            if not _expired(body, now):
                namespace, _, key = identifier.partition("/")
                yield _pair(namespace, key, resource, body)

    def _within(self, namespaces: Sequence[str] | None, children: bool) -> Iterator[tuple[str, Resource]]:
        if namespaces is None:
            yield from self._catalog.list(_KIND, self._tenant)
            return
        for namespace in dict.fromkeys(namespaces):
            yield from self._catalog.below(_KIND, self._tenant, f"{namespace}/")
            if children:
                yield from self._catalog.below(_KIND, self._tenant, f"{namespace}.")

    def _may(self, namespace: str) -> bool:
        try:
            self._namespaces.check_access(self._reader, namespace)
        except FlowtideError:
            return False
        return True

    async def _remove_all(self, chosen: Sequence[tuple[str, Resource]]) -> int:
        removed = 0
        unique = dict(chosen)
        names = list(unique)
        for start in range(0, len(names), 100):
            answers = await asyncio.gather(
                *(self._remove(name, unique[name]) for name in names[start : start + 100])
            )
            removed += sum(answers)
        return removed

    async def _remove(self, identifier: str, resource: Resource, *, by: str | None = None) -> bool:
        """Remove a pair as it was seen; False when it is another one, or gone, by now."""
        try:
            await self._client.delete(_KIND, self._tenant, identifier, resource.revision, by=by)
        except ResourceConflict:
            return False
        await self._drop(KEY_VALUE_BODY_DECODER.decode(resource.body))
        return True

    async def _drop(self, body: KeyValueBody | None) -> None:
        """Remove the file of a value that nothing names any more."""
        if body is not None and body.uri is not None:
            try:
                await self._storage.delete(self._tenant, body.uri)
            except FlowtideError as error:  # it takes room, and nothing else
                logger.warning("the file of a value could not be removed", uri=body.uri, reason=str(error))


def _check_key(key: str) -> None:
    if not 0 < len(key) <= _LONGEST_KEY or not (key.isascii() and key.isprintable()) or key != key.strip():
        raise ValueInvalid(
            f"{key[:100]!r} is no key: use at most {_LONGEST_KEY} printable ASCII characters, no space at either end"
        )


def _exists(namespace: str, key: str) -> ResourceConflict:
    return ResourceConflict(
        f"the key `{key}` exists in the namespace `{namespace}` already, and overwriting it was not allowed",
        key=f"{namespace}/{key}",
    )


def _expired(body: KeyValueBody, now: datetime) -> bool:
    return body.expires is not None and body.expires <= now


def _inline(body: KeyValueBody) -> Any:
    return msgspec.json.decode(body.value)


def _pair(namespace: str, key: str, resource: Resource, body: KeyValueBody) -> KeyValue:
    return KeyValue(
        namespace=namespace,
        key=key,
        type=ValueType(body.type),
        revision=resource.revision,
        created=body.created,
        updated=resource.updated,
        expires=body.expires,
        description=body.description,
    )
