"""A tar file of a container's folder comes in, its files go out, and never out of the folder that they are for.

What a script leaves is not trusted: only files, folders, and links that stay inside are made.  Python's own filters
for this are missing in the 3.11.2 of Debian 12.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO


def unpack(packed: IO[bytes], directory: Path, *, sent: set[str]) -> list[str]:
    """Write what is packed below the folder whose name it carries, over what is there.

    Files of `sent` that are not in it were removed by the script, and are removed here.  Gives the names that were
    refused because they lead out of the folder, or are neither file, folder nor link.
    """
    root = directory.resolve()
    refused: list[str] = []
    came: set[str] = set()
    packed.seek(0)
    with tarfile.open(fileobj=packed, mode="r:") as archive:
        for entry in archive:
            name = _below(entry.name)
            if name is None:
                refused.append(entry.name)
            elif name:
                came.add(name)
                if not _placed(archive, entry, name, root):
                    refused.append(name)
    for name in sent - came:
        (root / name).unlink(missing_ok=True)
    return refused


def _below(name: str) -> str | None:
    """A name without the folder's own, which comes first; None when it leads out."""
    parts = PurePosixPath(name).parts
    return None if name.startswith("/") or ".." in parts else "/".join(parts[1:])


def _placed(archive: tarfile.TarFile, entry: tarfile.TarInfo, name: str, root: Path) -> bool:
    target = root / name
    # A link that stands in the way could carry it elsewhere.
    if not target.parent.resolve().is_relative_to(root):
        return False
    if entry.isdir():
        if target.is_symlink() or target.is_file():
            target.unlink()
        target.mkdir(parents=True, exist_ok=True)
        return True
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.issym():
        if entry.linkname.startswith("/") or not (target.parent / entry.linkname).resolve().is_relative_to(
            root
        ):
            return False
        _clear(target)
        target.symlink_to(entry.linkname)
        return True
    if entry.islnk():
        original = _below(entry.linkname)
        source = None if not original else (root / original)
        if source is None or not source.resolve().is_relative_to(root) or not source.is_file():
            return False
        _clear(target)
        shutil.copyfile(source, target)
        return True
    content = archive.extractfile(entry) if entry.isreg() else None
    if content is None:
        return False
    _clear(target)
    with target.open("wb") as file:
        shutil.copyfileobj(content, file)
    target.chmod((entry.mode & 0o755) | 0o600)
    os.utime(target, (entry.mtime, entry.mtime))
    return True


def _clear(target: Path) -> None:
    if target.is_symlink() or not target.is_dir():
        target.unlink(missing_ok=True)
    else:
        shutil.rmtree(target)
