"""A server process for tests: a JSON file with services and settings in, a served process until SIGTERM out.

`python -m flowtide.testing.serve FILE`; when everything is started, a file beside it ends in `.ready` and has the
process's id.  The command line is not used, so that these tests fail for what they are about.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from flowtide.cli.web import web_application
from flowtide.errors import FlowtideError
from flowtide.model.services import ServiceType
from flowtide.services.process import Process
from flowtide.settings import Settings
from flowtide.telemetry import configure_logging


async def serve(file: Path, told: dict[str, Any]) -> None:
    """Serve what the file says."""
    settings = Settings.load(environment={}, overrides=told["settings"])
    configure_logging(settings)
    services = [ServiceType(name) for name in told["services"]]
    process = Process(settings, services, web_application=web_application, management=True)

    async def announce() -> None:
        await process.ready.wait()
        part = file.with_suffix(".part")
        part.write_text(str(os.getpid()))
        part.replace(file.with_suffix(".ready"))

    announcing = asyncio.create_task(announce())
    try:
        await process.run()
    finally:
        announcing.cancel()


if __name__ == "__main__":
    try:
        told_in = Path(sys.argv[1])
        asyncio.run(serve(told_in, json.loads(told_in.read_text())))
    except FlowtideError as error:
        sys.exit(f"the server ended: {error}")
