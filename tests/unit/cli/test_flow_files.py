"""Flows in files: which ones are found, and how what is wrong with them is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from click import BadParameter

from flowtide.cli.flow_folder import flow_files, read_flow_file, violation_line
from flowtide.cli.flow_inputs import read_pairs
from flowtide.cli.run import _timeout
from flowtide.errors import InputError, Violation
from flowtide.model.source import ParsedFlow


def _nothing(source: str) -> ParsedFlow:
    return ParsedFlow(flow=None, document={}, violations=[], warnings=[])


def test_a_folder_gives_its_yaml_files(tmp_path: Path) -> None:
    """YAML files of all folders below, sorted; hidden ones and other files are passed over."""
    for name in ("b.yaml", "a/c.yml", ".git/d.yaml", "e.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("id: x\n")

    assert [str(path.relative_to(tmp_path)) for path in flow_files(tmp_path)] == ["a/c.yml", "b.yaml"]


def test_a_file_that_is_no_text_has_a_violation_with_its_line(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are told with the line that they stand in."""
    path = tmp_path / "flow.yaml"
    path.write_bytes(b"id: x\nnamespace: \xff\n")

    file = read_flow_file(path, _nothing)

    assert violation_line(path, file.parsed.violations[0]) == f"{path}:2:1: the file is not written in UTF-8"


def test_a_violation_without_a_place_names_the_file() -> None:
    """Without line and column the file and the property are named."""
    violation = Violation(path="tasks", message="is needed")

    assert violation_line(Path("f.yaml"), violation) == "f.yaml: tasks: is needed"


def test_inputs_are_pairs(tmp_path: Path) -> None:
    """The value goes from the first `=` to the end; `@` reads a file."""
    text = tmp_path / "text"
    text.write_text("long")

    assert read_pairs(["a=1=2", "b=", f"c=@{text}"]) == {"a": "1=2", "b": "", "c": "long"}


def test_an_input_without_a_value_is_refused() -> None:
    """A word alone is no input."""
    with pytest.raises(InputError, match="write it as name=value"):
        read_pairs(["alone"])


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("30s", 30), ("1.5m", 90), ("2h", 7200), ("PT30S", 30)]
)
def test_timeouts_are_read_as_people_write_them(text: str, seconds: float) -> None:
    """Seconds, with a unit, or ISO-8601."""
    assert _timeout(text) == seconds


@pytest.mark.parametrize("text", ["soon", "", "-1", "0", "inf", "s"])
def test_other_timeouts_are_refused(text: str) -> None:
    """Nothing, less than nothing and words are no durations."""
    with pytest.raises(BadParameter):
        _timeout(text)
