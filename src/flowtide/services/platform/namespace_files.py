"""The files of a tenant's namespaces: what is known of them are resources, their contents stand in the storage.

In come paths and contents; out go files, folders and revisions.  Each upload has a place of its own in the storage, so
that whoever reads an older content is not disturbed, and two servers that upload at once do not mix their bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import structlog
from msgspec.structs import replace

from flowtide.errors import FileMissing, FlowtideError, ResourceConflict, ValueInvalid
from flowtide.model.file_patterns import file_pattern
from flowtide.model.platform import NamespaceFile
from flowtide.model.records import encode
from flowtide.model.resources import (
    NAMESPACE_FILE_BODY_DECODER,
    FileRevision,
    NamespaceFileBody,
    Resource,
    ResourceKind,
)
from flowtide.services.platform.namespaces import checked_name
from flowtide.services.platform.tenant_store import TenantStore
from flowtide.storage import namespace_file_content

_KIND: Final = ResourceKind.NAMESPACE_FILE
_LONGEST_PATH: Final = 500  # characters
_TRIES: Final = 20  # of an upload that others overtake
_SUFFIX: Final = re.compile(r"(?P<path>.+)\.v(?P<revision>[0-9]{1,9})")

logger = structlog.get_logger(__name__)


class TenantNamespaceFiles(TenantStore):
    """`flowtide.model.platform.NamespaceFiles` of one tenant, for flows of one namespace (`reader`) or for the API."""

    # Reading

    async def list(self, namespace: str, under: str = "/") -> Sequence[NamespaceFile]:
        """See NamespaceFiles."""
        await self._fresh(namespace)
        folder = "" if under.strip("/") == "" else checked_path(under) + "/"
        return [file for file in self._below(namespace, folder) if not file.is_folder]

    async def find(self, namespace: str, path: str) -> NamespaceFile | None:
        """See NamespaceFiles."""
        await self._fresh(namespace)
        plain = checked_path(path)
        return self._found(namespace, plain)

    async def children(self, namespace: str, folder: str = "/") -> Sequence[NamespaceFile]:
        """See NamespaceFiles."""
        await self._fresh(namespace)
        beginning = "" if folder.strip("/") == "" else checked_path(folder) + "/"
        return [
            file
            for file in self._below(namespace, beginning)
            if "/" not in file.path.removeprefix("/")[len(beginning) :]
        ]

    async def revisions(self, namespace: str, path: str) -> Sequence[int]:
        """See NamespaceFiles."""
        await self._fresh(namespace)
        body = self._body(namespace, checked_path(path))
        return [] if body is None else [each.revision for each in body.revisions]

    async def read(self, namespace: str, path: str, *, revision: int | None = None) -> bytes:
        """See NamespaceFiles."""
        await self._fresh(namespace)
        return await self._storage.get(self._tenant, self.content_uri(namespace, path, revision))

    async def fetch(self, namespace: str, path: str, to: Path, *, revision: int | None = None) -> None:
        """See NamespaceFiles."""
        await self._fresh(namespace)
        await self._storage.fetch(self._tenant, self.content_uri(namespace, path, revision), to)

    def peek(self, namespace: str, path: str, revision: int | None = None) -> NamespaceFile | None:
        """A file as the catalog has it now; for threads, and for code that cannot wait."""
        self._namespaces.check_access(self._reader, namespace)
        try:
            chosen = self._chosen(namespace, path, revision)
        except FileMissing:
            return None
        body = self._body(namespace, checked_path(path))
        created = chosen.updated if body is None else body.created
        return _file(namespace, checked_path(path), chosen, created)

    def content_uri(self, namespace: str, path: str, revision: int | None = None) -> str:
        """Where a content is stored, from what the catalog has now.  Raises FileMissing."""
        self._namespaces.check_access(self._reader, namespace)
        return self._chosen(namespace, path, revision).uri

    def content_size(self, namespace: str, path: str, revision: int | None = None) -> int:
        """The bytes of a content, from what the catalog has now.  Raises FileMissing."""
        self._namespaces.check_access(self._reader, namespace)
        return self._chosen(namespace, path, revision).size

    # Writing

    async def put(
        self, namespace: str, path: str, content: bytes | Path | BinaryIO, *, by: str | None = None
    ) -> NamespaceFile:
        """See NamespaceFiles."""
        await self._fresh(checked_name(namespace))
        plain = checked_path(path)
        await self._make_folders(namespace, plain, by)
        uri = namespace_file_content(namespace, plain, self._new_identifier())
        size = await self._storage.put(self._tenant, uri, content)
        for _ in range(_TRIES):
            resource = self._resource(namespace, plain)
            body = None if resource is None else NAMESPACE_FILE_BODY_DECODER.decode(resource.body)
            if body is not None and not body.revisions:
                await self._storage.delete(self._tenant, uri)
                raise _in_the_way(namespace, plain, "a folder")
            now = self._clock()
            revision = FileRevision(
                revision=body.revisions[-1].revision + 1 if body is not None else 1,
                uri=uri,
                size=size,
                updated=now,
                by=by,
            )
            saved = NamespaceFileBody(
                created=now if body is None else body.created,
                revisions=(*(() if body is None else body.revisions), revision),
            )
            expected = 0 if resource is None else resource.revision
            try:
                await self._save(namespace, plain, saved, expected, by)
            except ResourceConflict:
                await self._freshness.wait()
                continue
            return _file(namespace, plain, revision, saved.created)
        await self._storage.delete(self._tenant, uri)
        raise ResourceConflict(
            f"the file `/{plain}` of `{namespace}` is being written by others; try again", key=plain
        )

    async def make_folder(self, namespace: str, path: str, *, by: str | None = None) -> None:
        """See NamespaceFiles."""
        await self._fresh(checked_name(namespace))
        await self._make_folders(namespace, f"{checked_path(path)}/x", by)

    async def move(self, namespace: str, path: str, to: str, *, by: str | None = None) -> None:
        """See NamespaceFiles."""
        await self._fresh(namespace)
        plain, target = checked_path(path), checked_path(to)
        if plain == target:
            return
        if f"{target}/".startswith(f"{plain}/"):
            raise ValueInvalid(f"the folder `/{plain}` cannot be moved into itself")
        if self._found(namespace, target) is not None:
            raise _in_the_way(namespace, target, "something")
        chosen = self._subtree(namespace, plain)
        if not chosen:
            raise FileMissing(f"there is no file `/{plain}` in the namespace `{namespace}`")
        await self._make_folders(namespace, target, by)
        # All stand at their new place before the first one leaves the old one.
        for name, resource in chosen:
            body = NAMESPACE_FILE_BODY_DECODER.decode(resource.body)
            await self._save(namespace, target + name[len(plain) :], body, 0, by)
        for name, resource in reversed(chosen):
            await self._forget(namespace, name, resource, by)

    async def delete(self, namespace: str, path: str, *, by: str | None = None) -> bool:
        """See NamespaceFiles."""
        await self._fresh(namespace)
        chosen = self._subtree(namespace, checked_path(path))
        removed = False
        for name, resource in reversed(chosen):
            if await self._forget(namespace, name, resource, by):
                removed = True
                await self._drop(NAMESPACE_FILE_BODY_DECODER.decode(resource.body).revisions)
        return removed

    async def purge(
        self,
        namespaces: Sequence[str] | None,
        *,
        children: bool,
        pattern: str | None = None,
        before: datetime | None = None,
        keep: int | None = None,
    ) -> int:
        """See NamespaceFiles."""
        for namespace in namespaces or ():
            self._namespaces.check_access(self._reader, namespace)
        try:
            fits = file_pattern(pattern) if pattern else lambda path: True
        except ValueError as error:
            raise ValueInvalid(str(error)) from None
        await self._freshness.wait()
        purged = 0
        for identifier, resource in list(self._within(namespaces, children)):
            namespace, _, path = identifier.partition("/")
            body = NAMESPACE_FILE_BODY_DECODER.decode(resource.body)
            # The newest one is the file itself.
            old = body.revisions[:-1]
            if keep is not None:
                old = body.revisions[: max(len(body.revisions) - max(keep, 1), 0)]
            if before is not None:
                old = tuple(each for each in old if each.updated < before)
            if not old or not fits(f"/{path}") or not self._may(namespace):
                continue
            left = tuple(each for each in body.revisions if each not in old)
            try:
                await self._save(namespace, path, replace(body, revisions=left), resource.revision, None)
            except ResourceConflict:  # it was written meanwhile; the next purge comes
                continue
            await self._drop(old)
            purged += len(old)
        return purged

    # Inside

    async def _fresh(self, namespace: str) -> None:
        self._namespaces.check_access(self._reader, namespace)
        await self._freshness.wait()

    def _resource(self, namespace: str, plain: str) -> Resource | None:
        return self._catalog.get(_KIND, self._tenant, f"{namespace}/{plain}")

    def _body(self, namespace: str, plain: str) -> NamespaceFileBody | None:
        resource = self._resource(namespace, plain)
        return None if resource is None else NAMESPACE_FILE_BODY_DECODER.decode(resource.body)

    def _found(self, namespace: str, plain: str) -> NamespaceFile | None:
        body = self._body(namespace, plain)
        return None if body is None else _described(namespace, plain, body)

    def _chosen(self, namespace: str, path: str, revision: int | None) -> FileRevision:
        plain = checked_path(path)
        body = self._body(namespace, plain)
        if body is None and revision is None:
            match = _SUFFIX.fullmatch(plain)
            if match is not None:
                body, revision = self._body(namespace, match["path"]), int(match["revision"])
        if body is None:
            raise FileMissing(f"there is no file `/{plain}` in the namespace `{namespace}`")
        if not body.revisions:
            raise FileMissing(f"`/{plain}` is a folder of the namespace `{namespace}`, not a file")
        if revision is None:
            return body.revisions[-1]
        for each in body.revisions:
            if each.revision == revision:
                return each
        raise FileMissing(f"the file `/{plain}` of the namespace `{namespace}` has no revision {revision}")

    def _below(self, namespace: str, beginning: str) -> Iterator[NamespaceFile]:
        start = f"{namespace}/"
        for identifier, resource in self._catalog.below(_KIND, self._tenant, start + beginning):
            body = NAMESPACE_FILE_BODY_DECODER.decode(resource.body)
            yield _described(namespace, identifier[len(start) :], body)

    def _subtree(self, namespace: str, plain: str) -> Sequence[tuple[str, Resource]]:
        """A file, or a folder and all below it, by path."""
        resource = self._resource(namespace, plain)
        found = [] if resource is None else [(plain, resource)]
        start = f"{namespace}/"
        for identifier, each in self._catalog.below(_KIND, self._tenant, f"{start}{plain}/"):
            found.append((identifier[len(start) :], each))
        return found

    def _within(self, namespaces: Sequence[str] | None, children: bool) -> Iterator[tuple[str, Resource]]:
        if namespaces is None:
            yield from self._catalog.list(_KIND, self._tenant)
            return
        seen: set[str] = set()
        for namespace in namespaces:
            for beginning in (f"{namespace}/", *((f"{namespace}.",) if children else ())):
                for identifier, resource in self._catalog.below(_KIND, self._tenant, beginning):
                    if identifier not in seen:
                        seen.add(identifier)
                        yield identifier, resource

    def _may(self, namespace: str) -> bool:
        try:
            self._namespaces.check_access(self._reader, namespace)
        except FlowtideError:
            return False
        return True

    async def _make_folders(self, namespace: str, plain: str, by: str | None) -> None:
        """Have all folders above a path."""
        parts = plain.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            body = self._body(namespace, folder)
            if body is not None:
                if body.revisions:
                    raise _in_the_way(namespace, folder, "a file")
                continue
            try:
                await self._save(namespace, folder, NamespaceFileBody(created=self._clock()), 0, by)
            except ResourceConflict:  # somebody else made it
                await self._freshness.wait()
                now_there = self._body(namespace, folder)
                if now_there is not None and now_there.revisions:
                    raise _in_the_way(namespace, folder, "a file") from None

    async def _save(
        self, namespace: str, plain: str, body: NamespaceFileBody, expected: int, by: str | None
    ) -> None:
        await self._client.save(_KIND, self._tenant, f"{namespace}/{plain}", encode(body), expected, by=by)

    async def _forget(self, namespace: str, plain: str, resource: Resource, by: str | None) -> bool:
        try:
            await self._client.delete(_KIND, self._tenant, f"{namespace}/{plain}", resource.revision, by=by)
        except ResourceConflict:
            return False
        return True

    async def _drop(self, revisions: Sequence[FileRevision]) -> None:
        for each in revisions:
            try:
                await self._storage.delete(self._tenant, each.uri)
            except FlowtideError as error:  # it takes room, and nothing else
                logger.warning("the content of a file could not be removed", uri=each.uri, reason=str(error))


def checked_path(path: str) -> str:
    """A path of a namespace without slashes at its ends.  Raises ValueInvalid for what is none."""
    plain = path.strip("/")
    if (
        not plain
        or len(plain) > _LONGEST_PATH
        or not plain.isprintable()
        or "\\" in plain
        or any(part in ("", ".", "..") for part in plain.split("/"))
    ):
        raise ValueInvalid(
            f"{path[:200]!r} is no path of a file: use names with slashes between them, without `.`, `..`, "
            f"backslashes and control characters, at most {_LONGEST_PATH} characters"
        )
    return plain


def _in_the_way(namespace: str, plain: str, what: str) -> ResourceConflict:
    return ResourceConflict(
        f"there is {what} at `/{plain}` of the namespace `{namespace}` already", key=f"{namespace}/{plain}"
    )


def _described(namespace: str, plain: str, body: NamespaceFileBody) -> NamespaceFile:
    if body.revisions:
        return _file(namespace, plain, body.revisions[-1], body.created)
    return NamespaceFile(
        namespace=namespace,
        path=f"/{plain}",
        size=0,
        revision=0,
        updated=body.created,
        created=body.created,
    )


def _file(namespace: str, plain: str, revision: FileRevision, created: datetime) -> NamespaceFile:
    return NamespaceFile(
        namespace=namespace,
        path=f"/{plain}",
        size=revision.size,
        revision=revision.revision,
        updated=revision.updated,
        created=created,
    )
