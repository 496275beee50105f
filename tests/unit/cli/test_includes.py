"""Files that flows include, as page 450 has them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flowtide.cli.includes import IncludeFailed, expanded


def _flow(folder: Path, text: str) -> Path:
    path = folder / "flow.yml"
    path.write_text(text)
    return path


def test_a_quoted_value_takes_a_whole_file(tmp_path: Path) -> None:
    """`"[[> file]]"` becomes a text with the file's lines and quotes, as the example of the page."""
    (tmp_path / "lorem.txt").write_text('one "two"\nthree\n')

    found = yaml.safe_load(expanded(_flow(tmp_path, 'id: x\nformat: "[[> lorem.txt]]"\n')))

    assert found == {"id": "x", "format": 'one "two"\nthree'}


def test_a_marker_alone_keeps_its_indentation(tmp_path: Path) -> None:
    """Below `|` the lines of the file stand where the marker stood."""
    (tmp_path / "script.py").write_text("def f():\n    return 1\n")

    found = yaml.safe_load(expanded(_flow(tmp_path, "script: |\n  # begin\n  [[> script.py]]\n  # end\n")))

    assert found == {"script": "# begin\ndef f():\n    return 1\n# end\n"}


def test_files_include_files(tmp_path: Path) -> None:
    """Paths are relative to the file that includes, or absolute."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("a [[> b.txt]]")
    (tmp_path / "sub" / "b.txt").write_text(f"b [[> {tmp_path}/c.txt]]")
    (tmp_path / "c.txt").write_text("c")

    assert expanded(_flow(tmp_path, "format: [[> sub/a.txt]]\n")) == "format: a b c\n"


def test_an_escaped_marker_stays(tmp_path: Path) -> None:
    """`\\[[` is `[[` in the end."""
    assert expanded(_flow(tmp_path, "format: test \\[[> no.txt]]\n")) == "format: test [[> no.txt]]\n"


def test_a_flow_without_markers_is_untouched(tmp_path: Path) -> None:
    """Byte for byte, also what looks a little like one."""
    text = "run: |\n  if [[ -f x ]]; then echo; fi\n"

    assert expanded(_flow(tmp_path, text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("format: [[> nowhere.txt]]\n", "nowhere.txt: No such file"),
        ("format: a [[> two.txt]] b\n", "several lines"),
        ("format: [[> self.txt]]\n", "includes itself"),
    ],
)
def test_what_cannot_be_included_is_told(tmp_path: Path, text: str, reason: str) -> None:
    """A missing file, lines within a line, and a circle: each is a sentence with the file in it."""
    (tmp_path / "two.txt").write_text("1\n2\n")
    (tmp_path / "self.txt").write_text("[[> self.txt]]")

    with pytest.raises(IncludeFailed, match=reason):
        expanded(_flow(tmp_path, text))
