"""`scripts.python.Commands` and `scripts.python.Script` (C §17)."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from flowtide.model.task import RunContext
from flowtide.plugins.tasks.scripts.dependencies import installed
from flowtide.plugins.tasks.scripts.files import localized
from flowtide.plugins.tasks.scripts.script import Preparation, ScriptTask

_ENVIRONMENT: Final = {
    "PYTHONUNBUFFERED": "true",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
_JSON_NAMES: Final = "true, false, null = True, False, None  # results of expressions are written as JSON\n"
# The interpreter of a virtual environment that `beforeCommands` activated comes first on the path.
_INTERPRETER: Final = '"$(command -v python3 || command -v python || echo python3)"'


class _PythonTask(ScriptTask):
    """What both Python tasks share: packages that are installed before they run."""

    dependencies: Annotated[
        list[str] | str | None,
        Field(
            title="Packages", description="Requirements as pip reads them, installed by the worker and kept."
        ),
    ] = None
    dependency_cache_enabled: Annotated[
        bool, Field(title="Whether installed packages are kept for other runs")
    ] = True
    package_manager: Annotated[
        Literal["UV", "PIP"],
        Field(title="What installs packages", description="UV falls back to PIP if absent."),
    ] = "UV"
    python_version: Annotated[
        str | None,
        Field(title="The version of Python", description="With the Process runner, the worker's own."),
    ] = None

    async def _prepare(self, context: RunContext, preparation: Preparation) -> None:
        preparation.environment = {**_ENVIRONMENT, **preparation.environment}
        requirements = await self._lines(self.dependencies or [], context)
        if requirements or self.python_version is not None:
            folder = await installed(
                requirements,
                context,
                manager=self.package_manager,
                keep=self.dependency_cache_enabled,
                python_version=self.python_version,
            )
            if folder is not None:
                before = preparation.environment.get("PYTHONPATH")
                preparation.environment["PYTHONPATH"] = f"{folder}:{before}" if before else str(folder)


class Commands(_PythonTask):
    """Run commands, such as `python main.py`, in one shell."""

    title: ClassVar[str] = "Run Python programs by commands"
    example: ClassVar[str] = """\
id: python_commands
namespace: company.team
tasks:
  - id: python
    type: io.kestra.plugin.scripts.python.Commands
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    inputFiles:
      main.py: |
        print("Hello from a file")
    commands:
      - python3 main.py
"""

    commands: Annotated[
        list[str] | str, Field(min_length=1, title="The commands", description="Templates, one command each.")
    ]

    async def shell_lines(self, context: RunContext, preparation: Preparation) -> Sequence[str]:
        """The commands, rendered."""
        await self._prepare(context, preparation)
        return await self._lines(self.commands, context)


class Script(_PythonTask):
    """Run a Python script that stands in the flow."""

    title: ClassVar[str] = "Run a Python script"
    example: ClassVar[str] = """\
id: python_script
namespace: company.team
tasks:
  - id: python
    type: io.kestra.plugin.scripts.python.Script
    taskRunner:
      type: io.kestra.plugin.core.runner.Process
    script: |
      import json
      print("::" + json.dumps({"outputs": {"answer": 42}}) + "::")
"""

    script: Annotated[str, Field(title="The script", description="A template.")]

    async def shell_lines(self, context: RunContext, preparation: Preparation) -> Sequence[str]:
        """Write the rendered script to a file; gives the command that runs it."""
        await self._prepare(context, preparation)
        text = str(await context.evaluate(self.script, typed=False))
        text = await localized(text, context, preparation.own_files)
        if "from __future__" not in text:  # which must be the first statement
            text = _JSON_NAMES + text
        path = context.working_directory / ".script.py"
        await asyncio.to_thread(path.write_text, text, encoding="utf-8", errors="replace")
        preparation.own_files.add(path)
        return [f"{_INTERPRETER} {shlex.quote(str(path))}"]
