"""Each file is as the house wants it: opened by a docstring, of a readable size, free of places of one
machine.
"""

from __future__ import annotations

import ast
import re

from tests.tidy.repository import modules, shown, tracked_files

MOST_LINES = 725

# put together from pieces, so that this file does not hold what it looks for
_PLACES = re.compile(
    "|".join(
        (
            r"(?<![\w.~/*-])/" + r"(?:work|home|root|Users)/\w",
            r"/usr/lib/" + "jvm",
            r"[A-Z]:\\\\" + "Users",
        )
    )
)
_REGISTRIES = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"),
            ("files", "pythonhosted", "org"),
            ("repo1", "maven", "org"),
            ("repo", "maven", "apache", "org"),
            ("registry", "npmjs", "org"),
            ("deb", "debian", "org"),
            ("proxy", "golang", "org"),
        )
    )
)
# lock files hold addresses by their nature
_LOCKS = ("package-lock.json", "uv.lock")


def test_modules_open_with_a_docstring() -> None:
    """Every module says in its first sentences what comes in, what goes out, which state."""
    silent = [
        shown(file)
        for file in modules("src", "tests", "benchmarks")
        if file.read_text(encoding="utf-8").strip()
        and not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_modules_are_of_a_readable_size() -> None:
    """A module that grows beyond the limit has taken in a second subject."""
    large = {
        shown(file): count
        for file in modules("src", "tests", "benchmarks")
        if (count := file.read_text(encoding="utf-8").count("\n")) > MOST_LINES
    }
    assert large == {}


def test_no_place_of_one_machine_and_no_registry() -> None:
    """No file names a folder of somebody's machine, or a registry's host: both are the business of the
    client.
    """
    found = []
    for file in tracked_files():
        if file.name in _LOCKS:
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if _PLACES.search(line) or _REGISTRIES.search(line):
                found.append(f"{shown(file)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_no_promises_in_the_code() -> None:
    """What is not done is not in the code; it stands in an issue."""
    promise = re.compile(r"\b(TO" + r"DO|FIX" + r"ME)\b")
    found = [
        f"{shown(file)}:{number}"
        for file in modules("src", "tests", "benchmarks")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if promise.search(line)
    ]
    assert found == []
