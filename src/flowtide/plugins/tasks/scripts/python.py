"""`scripts.python.Commands` and `scripts.python.Script` (C §17)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from flowtide.model.task import RunContext
from flowtide.plugins.tasks.scripts.commands import CommandsTask
from flowtide.plugins.tasks.scripts.dependencies import installed
from flowtide.plugins.tasks.scripts.inline import InlineScript
from flowtide.plugins.tasks.scripts.script import Preparation, ScriptTask

_ENVIRONMENT: Final = {
    "PYTHONUNBUFFERED": "true",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
_JSON_NAMES: Final = "true, false, null = True, False, None  # results of expressions are written as JSON\n"


class _PythonTask(ScriptTask):
    """What both Python tasks share: packages that are installed before they run."""

    default_image: ClassVar[str] = "python:3.13-slim"

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
        Field(
            title="The version of Python",
            description="For which `dependencies` are installed: by default that of the image's tag, or the worker's.",
        ),
    ] = None

    async def _prepare(self, context: RunContext, preparation: Preparation) -> None:
        preparation.environment = {**_ENVIRONMENT, **preparation.environment}
        requirements = await self._lines(self.dependencies or [], context)
        version = self.python_version
        if version is not None:
            version = str(await context.evaluate(version, typed=False)).strip()
        if not requirements and version is None:
            return
        folder = await installed(
            requirements,
            context,
            manager=self.package_manager,
            keep=self.dependency_cache_enabled,
            python_version=version,
            image=preparation.image if preparation.container else None,
        )
        if folder is not None:
            preparation.folders.append(folder)
            before = preparation.environment.get("PYTHONPATH")
            preparation.environment["PYTHONPATH"] = f"{folder}:{before}" if before else str(folder)


class Commands(_PythonTask, CommandsTask):
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

    async def shell_lines(self, context: RunContext, preparation: Preparation) -> Sequence[str]:
        """The commands, rendered."""
        await self._prepare(context, preparation)
        return await super().shell_lines(context, preparation)


class Script(_PythonTask, InlineScript):
    """Run a Python script that stands in the flow."""

    title: ClassVar[str] = "Run a Python script"
    # The interpreter of a virtual environment that `beforeCommands` activated comes first on the path.
    program: ClassVar[str] = '"$(command -v python3 || command -v python || echo python3)"'
    file_name: ClassVar[str] = ".script.py"
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

    async def shell_lines(self, context: RunContext, preparation: Preparation) -> Sequence[str]:
        """Write the rendered script to a file; gives the command that runs it."""
        await self._prepare(context, preparation)
        return await super().shell_lines(context, preparation)

    def source(self, text: str) -> str:
        """The rendered script after a line that makes what expressions give valid Python (Y05)."""
        return text if "from __future__" in text else _JSON_NAMES + text  # that must be the first statement
