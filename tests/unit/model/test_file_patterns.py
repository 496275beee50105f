"""Patterns of file names (NSF-04, traps 41 and 43)."""

from __future__ import annotations

import pytest

from flowtide.model.file_patterns import any_pattern, file_pattern


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        ("*.sql", ["/a.sql", "/x/y/a.sql"], ["/a.sqlx", "/a.sql/b"]),
        ("src/**", ["/src/a", "/x/src/y/a"], ["/mysrc/a", "/src"]),
        ("**/a.py", ["/a.py", "/x/a.py"], ["/xa.py"]),
        ("/a/*.py", ["/a/b.py"], ["/x/a/b.py", "/a/b/c.py"]),
        ("/**", ["/a", "/a/b"], []),
        ("scripts/weather.py", ["/scripts/weather.py", "/x/scripts/weather.py"], ["/weather.py"]),
        ("glob:**/dbt/**", ["/dbt/a", "/x/dbt/y/a"], ["/dbtx/a"]),
        ("glob:*.py", ["/a.py"], ["/x/a.py"]),
        ("regex:.*\\.(sql|py)", ["/a.sql", "/x/a.py"], ["/a.txt"]),
        ("{a,b}.txt", ["/a.txt", "/x/b.txt"], ["/c.txt"]),
        ("[ab]?.txt", ["/a1.txt"], ["/c1.txt", "/a/.txt"]),
        ("a+b(1).txt", ["/a+b(1).txt"], ["/aab1.txt"]),
    ],
)
def test_what_fits(pattern: str, fitting: list[str], other: list[str]) -> None:
    """Without a leading slash a pattern may begin in any folder; `glob:` and `regex:` stand as they are."""
    fits = file_pattern(pattern)
    assert [path for path in [*fitting, *other] if fits(path)] == fitting


@pytest.mark.parametrize("pattern", ["", "regex:(", "a\0b", "x" * 1_001])
def test_what_is_no_pattern(pattern: str) -> None:
    """It is refused with a reason, not taken for a name."""
    with pytest.raises(ValueError, match="pattern"):
        file_pattern(pattern)


def test_any_of_several() -> None:
    """No pattern at all fits nothing."""
    assert any_pattern(["*.a", "*.b"])("/x.b")
    assert not any_pattern([])("/x.b")
