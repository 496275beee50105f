"""The published packages of the clients: fetched once from the package registry, kept in the user's cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

_SHARED = (
    "requests==2.34.2",
    "sseclient-py==1.9.0",
    "python-dateutil==2.9.0.post0",
    "pydantic==2.14.3",
    "urllib3==2.8.0",
    "pyyaml==6.0.3",
    "regex",
)
"""What all versions need.  Their own environment, so that ours may have other versions."""


def _fetch(folder: Path, *arguments: str) -> Path:
    """Install into a folder, which appears when it is complete; fails or skips when that is not possible."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
        done = subprocess.run(
            [*pip, "--target", f"{unfinished}/it", *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            message = f"the package registry does not give {' '.join(arguments)}:\n{done.stderr[-1500:]}"
            if os.environ.get("FLOWTIDE_TEST_REQUIRE_SERVICES") == "1":
                pytest.fail(message, pytrace=False)
            pytest.skip(message)
        try:
            Path(unfinished, "it").rename(folder)
        except OSError:  # somebody else was quicker
            shutil.rmtree(f"{unfinished}/it", ignore_errors=True)
    return folder


@pytest.fixture(scope="session")
def client_packages() -> Path:
    """The folder with what every version of the client needs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowtide" / "clients"
    return _fetch(cache / f"shared-{sys.version_info.major}.{sys.version_info.minor}", *_SHARED)


@pytest.fixture(params=["1.3.1", "1.0.10", "2.0.3"])
def client(request: pytest.FixtureRequest, client_packages: Path) -> tuple[str, str]:
    """A version of kestrapy, and the import path with which Python finds it and what it needs."""
    version: str = request.param
    own = _fetch(client_packages.parent / f"kestrapy-{version}", "--no-deps", f"kestrapy=={version}")
    return version, f"{own}:{client_packages}"
