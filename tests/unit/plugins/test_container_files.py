"""What comes back from a container stays in the working directory, whatever the script made of it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from flowtide.plugins.runners.docker.unpack import unpack


def _packed(*entries: tuple[str, str, str]) -> io.BytesIO:
    """A tar file of (kind, name, content or target of a link), below the folder `work`."""
    packed = io.BytesIO()
    kinds = {
        "file": tarfile.REGTYPE,
        "folder": tarfile.DIRTYPE,
        "link": tarfile.SYMTYPE,
        "hard": tarfile.LNKTYPE,
        "device": tarfile.CHRTYPE,
    }
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for kind, name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kinds[kind]
            entry.mode = 0o4777
            if kind == "file":
                entry.size = len(content)
            else:
                entry.linkname = content
            archive.addfile(entry, io.BytesIO(content.encode()) if kind == "file" else None)
    return packed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


def test_files_folders_and_inner_links_come(folder: Path) -> None:
    """DK7: with their contents, over what is there, and without special bits."""
    (folder / "a.txt").write_text("old")
    (folder / "kind").write_text("a file that becomes a folder")
    (folder / "gone").touch()
    (folder / "of another task").touch()
    packed = _packed(
        ("folder", "work/", ""),
        ("file", "work/a.txt", "new"),
        ("folder", "work/kind", ""),
        ("file", "work/kind/b.txt", "b"),
        ("link", "work/link", "kind/b.txt"),
        ("hard", "work/hard", "work/a.txt"),
    )
    assert unpack(packed, folder, sent={"a.txt", "gone"}) == []
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    assert names == ["a.txt", "hard", "kind", "kind/b.txt", "link", "of another task"]
    assert ((folder / "a.txt").read_text(), (folder / "hard").read_text()) == ("new", "new")
    assert (folder / "link").read_text() == "b"
    assert (folder / "a.txt").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    "entries",
    [
        [("file", "work/../out", "x")],
        [("file", "/out", "x")],
        [("link", "work/l", "/etc/passwd")],
        [("link", "work/l", "../out")],
        [("link", "work/l", "..")],
        [("hard", "work/l", "work/../../out")],
        [("hard", "work/l", "work/missing")],
        [("device", "work/d", "")],
    ],
)
def test_what_leads_out_is_refused(folder: Path, entries: list[tuple[str, str, str]]) -> None:
    """Names, links and devices that reach beyond the folder are left in the container, and named."""
    (folder.parent / "out").write_text("mine")
    assert len(unpack(_packed(*entries), folder, sent=set())) == 1
    assert list(folder.iterdir()) == []
    assert (folder.parent / "out").read_text() == "mine"


def test_a_link_on_the_way_carries_nothing_out(folder: Path) -> None:
    """A link that is there already, from a process of the host, is not followed."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (folder / "way").symlink_to(outside)
    (folder / "file").symlink_to(outside / "target")
    packed = _packed(("file", "work/way/x", "x"), ("file", "work/file", "y"))
    assert unpack(packed, folder, sent=set()) == ["way/x"]
    assert list(outside.iterdir()) == []
    assert (folder / "file").read_text() == "y"
