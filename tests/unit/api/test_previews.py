"""Previews of stored files (OUT-06)."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest

from flowtide.api.previews import shown


@pytest.mark.parametrize(
    ("extension", "content", "kind", "seen", "truncated"),
    [
        ("ion", b"{a:1,b:'x'}\n{a:2}\n{a:3}\n", "LIST", [{"a": 1, "b": "x"}, {"a": 2}], True),
        ("csv", b"a,b\n1,x\n", "LIST", [{"a": "1", "b": "x"}], False),
        ("jsonl", b'{"a": 1}\n\n[2]\n', "LIST", [{"a": 1}, [2]], False),
        ("ion", b"{{{ not ion", "TEXT", "{{{ not ion", False),
        ("txt", b"one\ntwo\nthree\n", "TEXT", "one\ntwo\n", True),
        ("md", b"# title\n", "MARKDOWN", "# title\n", False),
        ("", b"\xff\n", "TEXT", "\ufffd\n", False),
        ("png", b"\x89PNG", "IMAGE", "iVBORw==", False),
        ("txt", b"x" * (1024 * 1024 + 1), "TEXT", "x" * 1024 * 1024, True),
    ],
)
def test_the_beginning_of_a_file(
    extension: str, content: bytes, kind: str, seen: Any, truncated: bool
) -> None:
    """Rows where the file has rows, text where it is not what its name says; two rows are asked for."""
    preview = shown(BytesIO(content), extension, 2, "utf-8")
    assert preview == {"extension": extension, "type": kind, "content": seen, "truncated": truncated}
