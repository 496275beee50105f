"""`core.namespace.*`: tasks that upload, download and remove files of namespaces (page 062, RUN-24 to RUN-26)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.expressions import truthy
from flowtide.model.file_patterns import Fits, any_pattern
from flowtide.model.input_values import as_moment
from flowtide.model.namespace_files import Names
from flowtide.model.plugin import Part
from flowtide.model.task import RunContext, RunnableTask
from flowtide.plugins.tasks.kv import namespace_of
from flowtide.plugins.tasks.namespace_mount import texts
from flowtide.storage import namespace_file

_Namespace = Annotated[
    str | None, Field(title="The namespace", description="A template; the flow's by default.")
]
_URI_SCHEMES = ("kestra://", "nsfile://", "file://")


class UploadFiles(RunnableTask):
    """Put files into a namespace."""

    uses_files: ClassVar[bool] = True
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "files": ("object", "The files by name, with their URIs"),
    }
    title: ClassVar[str] = "Upload files to a namespace"
    example: ClassVar[str] = """\
id: publish_a_file
namespace: company.team
tasks:
  - id: download
    type: io.kestra.plugin.core.http.Download
    uri: https://example.org/data.csv
  - id: publish
    type: io.kestra.plugin.core.namespace.UploadFiles
    filesMap:
      "data.csv": "{{ outputs.download.uri }}"
    destination: /imports
"""

    namespace: _Namespace = None
    files: Annotated[
        Names | Mapping[str, Any],
        Field(
            title="Patterns of files in the working directory",
            description="Within a WorkingDirectory. A mapping is taken as `filesMap`.",
        ),
    ] = ()
    files_map: Annotated[
        Mapping[str, Any] | str,
        Field(title="Files by their names", description="The URI of a stored file, or the content as text."),
    ] = {}
    destination: Annotated[str, Field(title="The folder they are put into", description="A template.")] = "/"
    conflict: Annotated[
        Literal["OVERWRITE", "SKIP", "ERROR", "overwrite", "skip", "error"],
        Field(title="What becomes of a file that exists"),
    ] = "OVERWRITE"

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `files`: the URIs of what was uploaded, by path.  Raises TaskFailed."""
        namespace = await namespace_of(self.namespace, context)
        destination = str(await context.evaluate(self.destination, typed=False)).strip("/")
        store = context.platform.files
        uploaded: dict[str, str] = {}
        for name, source in (await self._sources(context)).items():
            path = f"/{destination}/{name.strip('/')}" if destination else f"/{name.strip('/')}"
            conflict = self.conflict.upper()
            if conflict != "OVERWRITE" and await store.find(namespace, path) is not None:
                if conflict == "ERROR":
                    raise TaskFailed(
                        f"the file `{path}` exists in the namespace `{namespace}`, and `conflict` is ERROR"
                    )
                continue
            content = source if isinstance(source, Path) else await _content(source, context)
            await store.put(namespace, path, content, by=f"{context.namespace}.{context.flow_id}")
            uploaded[path] = namespace_file(namespace, path)
        return {"files": uploaded}

    async def _sources(self, context: RunContext) -> dict[str, Any]:
        """What is uploaded: paths on disk, or texts, by name."""
        given = await context.evaluate(self.files_map, typed=True)
        named = dict(given) if isinstance(given, Mapping) else {}
        if isinstance(given, str) and given:
            raise TaskFailed("property `filesMap`: it must be a mapping of names to files")
        if isinstance(self.files, Mapping):
            named.update(await context.evaluate(dict(self.files), typed=True))
            return named
        patterns = await texts(self.files, context)
        if patterns:
            fits = _patterns(patterns, "files")
            folder = context.working_directory
            found = await asyncio.to_thread(_files_below, folder, fits)
            named = {**{name: folder / name for name in found}, **named}
        if not named:
            raise TaskFailed(
                "nothing is to be uploaded: no file fits the property `files`, and `filesMap` is empty"
                if patterns
                else "one of the properties `files` and `filesMap` is needed"
            )
        return named


class DownloadFiles(RunnableTask):
    """Copy files of a namespace to the storage of the execution."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "files": ("object", "The stored copies by name"),
    }
    title: ClassVar[str] = "Download files of a namespace"
    example: ClassVar[str] = """\
id: fetch_a_file
namespace: company.team
tasks:
  - id: namespace
    type: io.kestra.plugin.core.namespace.DownloadFiles
    files:
      - "**/*.csv"
  - id: show
    type: io.kestra.plugin.core.log.Log
    message: "{{ outputs.namespace.files }}"
"""

    namespace: _Namespace = None
    files: Annotated[Names, Field(title="Paths, or patterns of paths")]
    destination: Annotated[
        str | None, Field(title="The folder that is put before their paths", description="A template.")
    ] = None

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `files`: URIs by path, with a leading slash."""
        namespace = await namespace_of(self.namespace, context)
        fits = _patterns(await texts(self.files, context), "files")
        destination = ""
        if self.destination is not None:
            destination = str(await context.evaluate(self.destination, typed=False)).strip("/")
        store = context.platform.files
        downloaded: dict[str, str] = {}
        for file in await store.list(namespace):
            if fits(file.path):
                path = f"/{destination}{file.path}" if destination else file.path
                content = await store.read(namespace, file.path)
                downloaded[path] = await context.put_bytes(content, path.removeprefix("/"))
        return {"files": downloaded}


class DeleteFiles(RunnableTask):
    """Remove files of a namespace."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "deleted": ("integer", "How many files were removed"),
    }
    metrics: ClassVar[Mapping[str, str]] = {"deleted": "counter"}
    title: ClassVar[str] = "Delete files of a namespace"
    example: ClassVar[str] = """\
id: remove_files
namespace: company.team
tasks:
  - id: remove
    type: io.kestra.plugin.core.namespace.DeleteFiles
    files:
      - "/imports/*.csv"
    deleteParentFolder: true
"""

    namespace: _Namespace = None
    files: Annotated[Names, Field(title="Paths, or patterns of paths")]
    delete_parent_folder: Annotated[
        bool | str, Field(title="Whether a folder that is empty afterwards is removed too")
    ] = False

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `deleted`, the number of removed files."""
        namespace = await namespace_of(self.namespace, context)
        fits = _patterns(await texts(self.files, context), "files")
        store = context.platform.files
        removed = [file.path for file in await store.list(namespace) if fits(file.path)]
        for path in removed:
            await store.delete(namespace, path)
        if truthy(await context.evaluate(self.delete_parent_folder)):
            parents = {parent for path in removed for parent in _parents(path)}
            for folder in sorted(parents, key=len, reverse=True):
                if not await store.children(namespace, folder):
                    await store.delete(namespace, folder)
        context.counter("deleted", len(removed))
        return {"deleted": len(removed)}


class Behavior(Part):
    """Which revisions are removed."""

    type: Literal["version"] = "version"
    before: Annotated[str | None, Field(title="Those from before this date and time")] = None
    keep_amount: Annotated[int | None, Field(ge=1, title="All but so many, counted from the newest")] = None


class PurgeFiles(RunnableTask):
    """Remove old revisions of namespace files; the files stay."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "size": ("integer", "How many versions were removed"),
        "count": ("integer", "The same"),
    }
    metrics: ClassVar[Mapping[str, str]] = {"count": "counter"}
    title: ClassVar[str] = "Remove old revisions of namespace files"
    example: ClassVar[str] = """\
id: purge_revisions
namespace: system
tasks:
  - id: purge
    type: io.kestra.plugin.core.namespace.PurgeFiles
    namespaces:
      - company
    includeChildNamespaces: true
    filePattern: "**/*.sql"
    behavior:
      type: version
      keepAmount: 3
"""

    namespaces: Annotated[
        Names | None, Field(title="The namespaces", description="All namespaces by default.")
    ] = None
    include_child_namespaces: Annotated[
        bool | str, Field(title="Whether namespaces below them count too")
    ] = True
    file_pattern: Annotated[
        str | None, Field(title="Which files", description="A pattern of paths; all files by default.")
    ] = None
    behavior: Annotated[Behavior, Field(title="Which revisions")] = Behavior(keep_amount=1)

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `size`, the number of removed revisions, and the same as `count`.  Raises TaskFailed."""
        before: datetime | None = None
        if self.behavior.before is not None:
            try:
                before = as_moment(await context.evaluate(self.behavior.before, typed=False))
            except ValueError as error:
                raise TaskFailed(f"property `behavior.before`: {error}") from None
        if before is None and self.behavior.keep_amount is None:
            raise TaskFailed("property `behavior`: say `before` or `keepAmount`")
        pattern = self.file_pattern
        if pattern is not None:
            pattern = str(await context.evaluate(pattern, typed=False))
        count = await context.platform.files.purge(
            None if self.namespaces is None else await texts(self.namespaces, context),
            children=truthy(await context.evaluate(self.include_child_namespaces)),
            pattern=pattern,
            before=before,
            keep=self.behavior.keep_amount,
        )
        context.counter("count", count)
        return {"size": count, "count": count}


async def _content(source: Any, context: RunContext) -> bytes:
    text = source if isinstance(source, str) else context.render(source)
    if text.strip().startswith(_URI_SCHEMES):
        return await context.get_bytes(text.strip())
    return text.encode()


def _patterns(patterns: list[str], name: str) -> Fits:
    try:
        return any_pattern(patterns)
    except ValueError as error:
        raise TaskFailed(f"property `{name}`: {error}") from None


def _files_below(folder: Path, fits: Fits) -> list[str]:
    found = []
    for place, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            relative = path.relative_to(folder).as_posix()
            # A link could name any file of the host.
            if not path.is_symlink() and path.is_file() and fits(f"/{relative}"):
                found.append(relative)
    return found


def _parents(path: str) -> list[str]:
    parts = path.strip("/").split("/")[:-1]
    return ["/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1)]
