"""A real `flowtide server standalone` as a process of its own, for tests that bring more than a test client can."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

USERNAME, PASSWORD = "admin@example.org", "Admin1234"
LOGIN = "Basic " + b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
_READY = re.compile(r"is ready on (http://localhost:\d+)")
_SECONDS = 60  # a loaded machine starts slowly; an idle one needs two


@contextmanager
def standalone(folder: Path, configuration: str = "", more: Mapping[str, str] | None = None) -> Iterator[str]:
    """A running server on free ports with its data in a folder; gives its address, without a slash at the end."""
    file = folder / "flowtide.yml"
    file.write_text(configuration or "{}\n")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    environment = {
        **kept,
        "HOME": str(folder),
        "FLOWTIDE_DATA_PATH": str(folder / "data"),
        "ENDPOINTS_ALL_PORT": "0",
        "FLOWTIDE_SERVER_PORT": "0",
        "FLOWTIDE_SERVER_BASIC_AUTH_USERNAME": USERNAME,
        "FLOWTIDE_SERVER_BASIC_AUTH_PASSWORD": PASSWORD,
        **(more or {}),
    }
    output = folder / "output"
    with output.open("w") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "flowtide", "server", "standalone", "--config", str(file)],
            env=environment,
            stdout=lines,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _address(process, output)
    finally:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[bytes], output: Path) -> str:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and process.poll() is None:
        found = _READY.search(output.read_text())
        if found is not None:
            return found[1].replace("localhost", "127.0.0.1")
        time.sleep(0.05)  # a real process can only be asked again
    raise AssertionError(f"not ready: {output.read_text()}")
