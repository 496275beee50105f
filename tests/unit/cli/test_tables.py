"""What commands list, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowtide.cli.tables import cell, write

_ROWS: list[dict[str, Any]] = [
    {"id": "a", "state": {"current": "SUCCESS"}, "note": "two\nlines", "on": True, "size": 0},
    {"id": "longer", "state": {"current": "FAILED"}, "note": None, "on": False, "tags": ["x"]},
]
_COLUMNS = {"ID": "id", "STATE": "state.current", "NOTE": "note"}


def test_a_pipe_gets_whole_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Aligned, a line a row, nothing cut."""
    write(_ROWS, _COLUMNS, "table", nothing="nothing")

    assert capsys.readouterr().out == "ID      STATE    NOTE\na       SUCCESS  two lines\nlonger  FAILED\n"


def test_json_has_whole_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """Also what no column shows; an empty list is a list."""
    write(_ROWS, _COLUMNS, "json", nothing="nothing")
    assert json.loads(capsys.readouterr().out) == _ROWS
    write([], _COLUMNS, "json", nothing="nothing")
    assert json.loads(capsys.readouterr().out) == []


def test_an_empty_table_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, so that a program reads nothing."""
    write([], _COLUMNS, "table", nothing="there is nothing")

    assert capsys.readouterr() == ("", "there is nothing\n")


def test_values_are_texts() -> None:
    """Numbers and truths, lists as JSON, nothing for what is not there."""
    found = [cell(row, path) for row in _ROWS for path in ("on", "size", "tags", "state.none")]

    assert found == ["yes", "0", "", "", "no", "", '["x"]', ""]
