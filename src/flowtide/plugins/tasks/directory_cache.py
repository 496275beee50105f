"""The cache of a WorkingDirectory: files of its directory, kept for the next executions of the same task (CAC-01).

An archive stands in the storage beside a note that names it and says when it was kept.  The archive is written first
and the note replaced in one step, so that whoever reads the note at any moment finds a whole archive, or none.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from flowtide.errors import TaskFailed
from flowtide.model.file_patterns import any_pattern
from flowtide.model.records import format_date
from flowtide.model.task import RunContext

_MTIME: Final = "FLOWTIDE.mtime_ns"  # archives alone keep no fraction that compares equal


class _Note(NamedTuple):
    """What is kept."""

    saved: datetime
    archive: str
    fingerprint: str


async def restore_cache(context: RunContext, *, ttl: timedelta | None) -> bool:
    """Put what is kept into the working directory, unless it is older than `ttl`; whether something was."""
    lines = context.logger
    note = await _note(context)
    if note is None:
        return False
    if _is_old(note, ttl, context):
        lines.info("The cache is older than its ttl and is not used")
        return False
    archive = _beside(context.working_directory)
    try:
        if not await context.fetch_kept(note.archive, archive):
            return False  # replaced at this moment
        count = await asyncio.to_thread(unpack, archive, context.working_directory)
    except (tarfile.TarError, EOFError, ValueError) as error:
        await context.forget_kept(_note_name(context))
        raise TaskFailed(
            f"the cache of this task was damaged and is dropped: {error}; run the flow again"
        ) from None
    finally:
        await asyncio.to_thread(archive.unlink, missing_ok=True)
    lines.info("{} files of the cache are in the working directory", count)
    return True


async def save_cache(context: RunContext, *, patterns: Sequence[str], ttl: timedelta | None) -> None:
    """Keep the files that fit a pattern, unless the same ones are kept already.

    Raises OSError and tarfile.TarError when a file cannot be read, TaskFailed for a pattern that cannot be read.
    """
    lines = context.logger
    try:
        fits = any_pattern(f"/{pattern.removeprefix('./').removeprefix('/')}" for pattern in patterns)
    except ValueError as error:
        raise TaskFailed(f"property `cache.patterns`: {error}") from None
    directory = context.working_directory
    found = await asyncio.to_thread(files_that_fit, directory, fits)
    fingerprint = await asyncio.to_thread(_fingerprint, directory, found)
    before = await _note(context)
    if before is not None and before.fingerprint == fingerprint and not _is_old(before, ttl, context):
        lines.info("The files of the cache did not change")
        return
    name = f"{_folder(context)}/{context.task_run_id}-{context.attempt}.tar.gz"
    archive = _beside(directory)
    try:
        await asyncio.to_thread(pack, archive, directory, found)
        await context.keep(name, archive)
    finally:
        await asyncio.to_thread(archive.unlink, missing_ok=True)
    note = {"saved": format_date(context.now()), "archive": name, "fingerprint": fingerprint}
    await context.keep(_note_name(context), json.dumps(note).encode())
    if before is not None and before.archive != name:
        await context.forget_kept(before.archive)
    lines.info("{} files are kept in the cache", len(found))


async def _note(context: RunContext) -> _Note | None:
    content = await context.kept(_note_name(context))
    if content is None:
        return None
    try:
        values = json.loads(content)
        saved = datetime.fromisoformat(values["saved"])
        return _Note(saved=saved, archive=str(values["archive"]), fingerprint=str(values["fingerprint"]))
    except (ValueError, KeyError, TypeError):
        lines = context.logger
        lines.warn("The note of the cache is damaged; the cache is made anew")
        return None


def _is_old(note: _Note, ttl: timedelta | None, context: RunContext) -> bool:
    return ttl is not None and context.now() - note.saved >= ttl


def _beside(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.archive")


def _note_name(context: RunContext) -> str:
    return f"{_folder(context)}/cache.json"


def _folder(context: RunContext) -> str:
    """Iterations of a loop have caches of their own."""
    run = context.variables.get("taskrun")
    value = run.get("value") if isinstance(run, dict) else None
    if value is None:
        return "directory"
    return f"directory-{hashlib.sha256(str(value).encode()).hexdigest()[:16]}"


def files_that_fit(directory: Path, fits: Callable[[str], bool]) -> list[str]:
    """The files and links below a directory whose path, with a leading slash, fits; sorted."""
    found = []
    for place, folders, names in os.walk(directory, onerror=_raise, followlinks=False):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in [*names, *links]:
            path = Path(place, name)
            relative = path.relative_to(directory).as_posix()
            if fits(f"/{relative}") and (path.is_symlink() or path.is_file()):
                found.append(relative)
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def _fingerprint(directory: Path, names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        path = directory / name
        status = path.lstat()
        link = os.readlink(path) if path.is_symlink() else f"{status.st_size} {status.st_mtime_ns}"
        digest.update(f"{name}\0{link}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def pack(archive: Path, directory: Path, names: Sequence[str]) -> None:
    """Write files and links into an archive.  Raises OSError."""
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT, compresslevel=3) as target:
        for name in names:
            path = directory / name
            status = path.lstat()
            entry = tarfile.TarInfo(name)
            entry.mode = status.st_mode & 0o777
            entry.mtime = int(status.st_mtime)
            entry.pax_headers = {_MTIME: str(status.st_mtime_ns)}
            if path.is_symlink():
                entry.type = tarfile.SYMTYPE
                entry.linkname = os.readlink(path)
                target.addfile(entry)
                continue
            with path.open("rb") as source:
                entry.size = os.fstat(source.fileno()).st_size
                target.addfile(entry, source)


def unpack(archive: Path, directory: Path) -> int:
    """Write the files of an archive into an empty directory; gives how many.

    Links come last, so that no file is written through one; what is neither file nor link is passed over.  Raises
    ValueError for a name that leads out of the directory.
    """
    links: list[tuple[Path, str]] = []
    count = 0
    with tarfile.open(archive, "r:gz") as source:
        for entry in source:
            parts = entry.name.split("/")
            if any(part in ("", ".", "..") for part in parts) or "\0" in entry.name:
                raise ValueError(f"the name {entry.name[:200]!r} leads out of the directory")
            path = directory.joinpath(*parts)
            if entry.issym():
                links.append((path, entry.linkname))
                continue
            content = source.extractfile(entry) if entry.isreg() else None
            if content is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as target:
                shutil.copyfileobj(content, target)
            path.chmod(entry.mode & 0o777)
            moment = int(entry.pax_headers.get(_MTIME, int(entry.mtime) * 1_000_000_000))
            os.utime(path, ns=(moment, moment))
            count += 1
    for path, linked in links:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent.resolve().is_relative_to(directory.resolve()):
            path.symlink_to(linked)
            count += 1
    return count
