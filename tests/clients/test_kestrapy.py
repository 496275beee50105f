"""Every method of the published Python clients against a running server, as calls.yaml says."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowtide.testing.servers import ALL, PASSWORD, USERNAME, Server, embedded_shape

_HERE = Path(__file__).parent
_CALLS = _HERE / "calls.yaml"
_STRICT = ("1.0.10", "1.3.1")
"""Versions whose models every answer must fit; 2.0 has fields that 1.3, which we serve, does not have."""


def _table() -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = yaml.safe_load(_CALLS.read_text())["calls"]
    return table


def _objection(version: str, line: dict[str, Any], result: dict[str, Any]) -> str | None:
    """What is wrong with the end of a call; None when it is as the table says."""
    outcome, said = result["outcome"], f"{result['outcome']}, {result['said']}"
    if "not_served" in line:
        # the client's own refusal of an argument tells nothing about the server
        return f"is served: give it a line of its own ({said})" if outcome == "ok" else None
    expected = line.get("fails", "ok")
    if isinstance(expected, dict):
        expected = expected.get(version, "ok")
    if outcome not in (expected if isinstance(expected, list) else [expected]):
        return f"must end with {expected}, but: {said}"
    if result["differs"]:
        return f"{'; '.join(result['differs'])} ({said})"
    if result.get("loose") and version in _STRICT and "loose" not in line:
        return f"does not fit its model: {result['loose'][0]}"
    return None


@pytest.mark.slow
@pytest.mark.timeout(180)  # with the packages fetched on the first run
async def test_every_method_of_the_client(client: tuple[str, str], tmp_path: Path) -> None:
    """Each method of the unmodified package ends as the table says, its answer read by the package's own models.

    Methods without a line fail the test, so a method cannot be forgotten.
    """
    version, packages = client
    shape = embedded_shape(tmp_path, {"flowtide.url": "http://flowtide.example.org"})
    with Server(shape, ALL, name="clients") as server:
        await server.start()
        address = f"http://127.0.0.1:{server.port}"
        driver = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, str(_HERE / "driver.py"), packages, str(_CALLS), address, USERNAME, PASSWORD],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert driver.returncode == 0, driver.stderr[-4000:]
        report = json.loads(driver.stdout)
    table = _table()
    called = {each["call"] for each in report["results"]}
    problems = [
        f"{method}: has no line in {_CALLS.name}" for method in report["methods"] if method not in called
    ]
    for each in report["results"]:
        objection = _objection(version, table[each["line"]], each)
        if objection is not None:
            problems.append(f"{each['call']} {objection}")
    assert not problems, "\n".join(problems)


def test_lines_say_why_they_are_not_served() -> None:
    """A line either says how its call ends or why nobody answers it, never both."""
    for line in _table():
        assert ("not_served" in line) <= (not {"with", "gives", "fails", "until", "keep"} & line.keys()), line
        assert line.get("not_served", "a reason"), line
