"""`python -m flowtide.analytics [-c FILE]...`: the analytics app in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from flowtide.analytics.service import run
from flowtide.errors import FlowtideError
from flowtide.settings import Settings
from flowtide.telemetry import configure_logging


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flowtide.analytics", description=__doc__)
    parser.add_argument("-c", "--config", action="append", type=Path, default=[], help="A file of settings.")
    parser.add_argument("-l", "--log-level", help="The level of the log: TRACE, DEBUG, INFO, WARN or ERROR.")
    given = parser.parse_args(arguments)
    try:
        settings = Settings.load(given.config)
        configure_logging(settings, level=given.log_level)
        asyncio.run(run(settings))
    except FlowtideError as error:
        sys.stderr.write(f"flowtide: {error.message}\n")
        return 1
    except ValueError as error:  # a level that is none
        sys.stderr.write(f"flowtide: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
