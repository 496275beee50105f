"""What all script tasks share: properties, files, variables, the runner, outputs and exit code (C §11 to §14).

Commands come in from the subclass of a language; a runner runs them; outputs, files and metrics go out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AliasChoices, Field, ValidationError, field_validator

from flowtide.errors import FlowtideError, TaskFailed
from flowtide.model.namespace_files import NamespaceFilesProperty
from flowtide.model.plugin import TaskRunner
from flowtide.model.runner import Runner, RunnerCommand, RunnerResult
from flowtide.model.task import RunContext, RunnableTask
from flowtide.plugins.runners.docker.runner import Docker
from flowtide.plugins.runners.process import Process
from flowtide.plugins.tasks.namespace_mount import mount_namespace_files
from flowtide.plugins.tasks.scripts.execution_context import write_execution_context
from flowtide.plugins.tasks.scripts.files import (
    localized,
    place_input_files,
    remove_files,
    store_output_files,
)
from flowtide.plugins.tasks.scripts.protocol import ScriptOutput

PROCESS_TYPE: Final = "io.kestra.plugin.core.runner.Process"
DOCKER_TYPE: Final = "io.kestra.plugin.scripts.runner.docker.Docker"
_SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash"})
_FAIL_FAST: Final = {  # how each interpreter is told to end at the first command that fails
    **dict.fromkeys(_SHELLS, "set -e"),
    **dict.fromkeys(("pwsh", "powershell"), "$ErrorActionPreference = 'Stop'"),
}
_LONGEST_ARGUMENT_BYTES: Final = 100 * 1024  # Linux refuses a single argument of 128 KiB


@dataclass(kw_only=True)
class Preparation:
    """What is gathered while a script is made ready to run."""

    environment: dict[str, str] = field(default_factory=dict)
    own_files: set[Path] = field(default_factory=set)  # made by us: never output files, removed at the end
    folders: list[Path] = field(default_factory=list)  # outside of the working directory
    image: str | None = None  # rendered; None when the runner starts no containers and none is given
    container: bool = False  # what runs is inside a container, with the programs of the image


class ScriptTask(RunnableTask):
    """A task that runs a process."""

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"
    uses_files: ClassVar[bool] = True
    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "exitCode": ("integer", "The exit code of the last command"),
        "vars": ("object", 'What the script gave by `::{"outputs": ...}::`'),
        "outputFiles": ("object", "The stored files by name"),
    }
    default_image: ClassVar[str] = "ubuntu"  # when `containerImage` is not given (C S04)

    before_commands: Annotated[
        list[str] | str | None,
        Field(title="Commands that run first", description="In the same shell, on each run."),
    ] = None
    env: Annotated[
        dict[str, Any] | str | None, Field(title="Environment variables", description="Templates.")
    ] = None
    input_files: Annotated[
        dict[str, Any] | str | None,
        Field(title="Input files", description="Name to content, or to the URI of a stored file."),
    ] = None
    output_files: Annotated[
        list[str] | str | None,
        Field(title="Output files", description="Globs, relative to the working directory."),
    ] = None
    namespace_files: Annotated[
        NamespaceFilesProperty | None,
        Field(
            title="Namespace files", description="Which files of namespaces are put beside the input files."
        ),
    ] = None
    interpreter: Annotated[
        list[str],
        Field(
            default_factory=lambda: ["/bin/sh", "-c"],
            min_length=1,
            title="The interpreter",
            description="What gets the commands as its last argument.",
        ),
    ]
    fail_fast: Annotated[
        bool | str,
        Field(title="Whether the first command that fails ends the script", description="`set -e`."),
    ] = True
    warning_on_std_err: Annotated[
        bool | None,
        Field(
            title="Without effect",
            description="Deprecated, without effect: the exit code alone decides.",
            validation_alias=AliasChoices("warningOnStdErr", "warning_on_std_err"),
            serialization_alias="warningOnStdErr",
            deprecated=True,
        ),
    ] = None
    target_os: Annotated[
        str,
        Field(
            title="The system that the runner starts",
            validation_alias=AliasChoices("targetOS", "targetOs", "target_os"),
            serialization_alias="targetOS",
        ),
    ] = "AUTO"
    container_image: Annotated[
        str | None,
        Field(
            title="The image", description="For runners that start containers; by default the language's own."
        ),
    ] = None
    task_runner: Annotated[
        TaskRunner | None, Field(title="Where it runs", description="The default is a Docker container.")
    ] = None
    output_directory: Annotated[
        bool | None,
        Field(
            title="Keep all files of `{{ outputDir }}`",
            description="Deprecated: use `outputFiles`.",
            validation_alias=AliasChoices("outputDirectory", "outputDirectoryEnabled", "output_directory"),
            deprecated=True,
        ),
    ] = None
    runner: Annotated[
        Literal["PROCESS", "DOCKER"] | None,
        Field(title="Where it runs", description="Deprecated: use `taskRunner`.", deprecated=True),
    ] = None
    docker: Annotated[
        dict[str, Any] | None,
        Field(title="Options of the container", description="Deprecated: use `taskRunner`.", deprecated=True),
    ] = None

    @field_validator("docker")
    @classmethod
    def _docker_is_known(cls, given: dict[str, Any] | None) -> dict[str, Any] | None:
        if given is not None:
            try:
                _legacy_docker(given)
            except ValidationError as error:
                problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
                place = ".".join(str(part) for part in problem["loc"])
                raise ValueError(f"`{place}`: {problem['msg']}") from None
        return given

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Run; gives `vars`, `outputFiles` and `exitCode`, also in the TaskFailed of a non-zero exit code.

        What the runner gives, such as `containerId`, is in `taskRunner`.
        """
        runner = self._runner()
        await runner.check(context)
        if self.target_os == "WINDOWS" and isinstance(runner, Process):
            raise TaskFailed(
                "property `targetOS`: the Process runner of this version runs on POSIX systems only"
            )
        preparation = Preparation(container=runner.starts_containers)
        try:
            return await self._run(runner, context, preparation)
        finally:
            # Several tasks may share the folder, and the next one must not take these for files of its own.
            await asyncio.shield(asyncio.to_thread(remove_files, preparation.own_files))

    async def _run(self, runner: Runner, context: RunContext, preparation: Preparation) -> dict[str, Any]:
        directory = context.working_directory
        context.define("workingDir", str(directory))
        output_directory = await self._make_output_directory(context)
        preparation.image = await self._image(context, preparation)
        preparation.environment.update(await self._environment(context))
        await mount_namespace_files(self.namespace_files, context, directory)
        if self.input_files is not None:
            await place_input_files(await self._mapping("inputFiles", self.input_files, context), context)
        preparation.own_files.add(await write_execution_context(context))
        commands = await self.shell_lines(context, preparation)
        before = await self._lines(self.before_commands, context)
        text = await localized("\n".join([*before, *commands]), context, preparation.own_files)
        command = RunnerCommand(
            arguments=await self._arguments(text, context, preparation),
            environment={
                **preparation.environment,
                "WORKING_DIR": str(directory),
                **({"OUTPUT_DIR": str(output_directory)} if output_directory is not None else {}),
            },
            working_directory=directory,
            container_image=preparation.image,
            output_directory=output_directory,
            folders=preparation.folders,
            labels={
                "namespace": context.namespace,
                "flow-id": context.flow_id,
                "task-id": context.task_id,
                "execution-id": context.execution_id,
                "taskrun-id": context.task_run_id,
                "taskrun-attempt": str(context.attempt),
            },
        )
        output = ScriptOutput(context)
        result = await runner.run(command, context, output.line)
        return await self._outputs(result, output, context, output_directory, preparation)

    async def shell_lines(self, context: RunContext, preparation: Preparation) -> Sequence[str]:
        """The commands that the shell runs after `beforeCommands`, rendered."""
        raise NotImplementedError

    def _runner(self) -> Runner:
        if isinstance(self.task_runner, Runner):
            return self.task_runner
        if self.runner_name == "PROCESS":
            return Process(type=PROCESS_TYPE)
        return _legacy_docker(self._docker or {})

    @property
    def runner_name(self) -> str | None:
        """The deprecated property `runner`, read without its warning."""
        name: str | None = self.__dict__["runner"]
        return name

    @property
    def _docker(self) -> dict[str, Any] | None:
        given: dict[str, Any] | None = self.__dict__["docker"]
        return given

    async def _image(self, context: RunContext, preparation: Preparation) -> str | None:
        given = self.container_image or (self._docker or {}).get("image")
        if given is None:
            return self.default_image if preparation.container else None
        return str(await context.evaluate(given, typed=False)).strip()

    async def _make_output_directory(self, context: RunContext) -> Path | None:
        if not self.__dict__["output_directory"]:
            return None
        directory = context.working_directory / "output-dir"
        await asyncio.to_thread(directory.mkdir, exist_ok=True)
        context.define("outputDir", str(directory))
        return directory

    async def _environment(self, context: RunContext) -> dict[str, str]:
        if self.env is None:
            return {}
        rendered = await self._mapping("env", self.env, context)
        return {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in rendered.items()
            if value is not None
        }

    async def _mapping(
        self, name: str, value: Mapping[str, Any] | str, context: RunContext
    ) -> dict[str, Any]:
        """A mapping, or a template or JSON text that gives one."""
        rendered = await context.evaluate(value, typed=isinstance(value, str))
        if isinstance(rendered, str):
            with contextlib.suppress(ValueError):
                rendered = json.loads(rendered)
        if not isinstance(rendered, Mapping):
            raise TaskFailed(f"property `{name}`: must give a mapping")
        return dict(rendered)

    async def _lines(self, value: Sequence[str] | str | None, context: RunContext) -> list[str]:
        """Commands: a list of templates, or one template that gives a list."""
        rendered = await context.evaluate(value, typed=isinstance(value, str)) if value else []
        if isinstance(rendered, str):
            with contextlib.suppress(ValueError):
                parsed = json.loads(rendered)
                rendered = parsed if isinstance(parsed, list) else rendered
        return [rendered] if isinstance(rendered, str) else [str(line) for line in rendered]

    async def _arguments(self, text: str, context: RunContext, preparation: Preparation) -> list[str]:
        fail_fast = self.fail_fast
        if isinstance(fail_fast, str):
            fail_fast = str(await context.evaluate(fail_fast, typed=False)).strip().lower() != "false"
        program = Path(self.interpreter[0]).name
        if fail_fast and program in _FAIL_FAST:
            text = f"{_FAIL_FAST[program]}\n{text}"
        if len(text.encode("utf-8", "replace")) <= _LONGEST_ARGUMENT_BYTES or self.interpreter[-1] != "-c":
            return [*self.interpreter, text]
        path = context.working_directory / ".commands"
        await asyncio.to_thread(path.write_text, text, encoding="utf-8", errors="replace")
        preparation.own_files.add(path)
        return [*self.interpreter[:-1], str(path)]

    async def _outputs(
        self,
        result: RunnerResult,
        output: ScriptOutput,
        context: RunContext,
        output_directory: Path | None,
        preparation: Preparation,
    ) -> dict[str, Any]:
        code = result.exit_code
        outputs: dict[str, Any] = {"exitCode": code, "vars": output.variables, "outputFiles": {}}
        if result.outputs:
            outputs["taskRunner"] = dict(result.outputs)
        try:
            patterns = await self._lines(self.output_files or [], context)
            if output_directory is not None:
                patterns.append(f"{output_directory.name}/**")
            stored = await store_output_files(patterns, context, own_files=preparation.own_files)
            prefix = None if output_directory is None else f"{output_directory.name}/"
            outputs["outputFiles"] = {
                name if prefix is None else name.removeprefix(prefix): uri for name, uri in stored.items()
            }
            output.check()
        except (FlowtideError, OSError) as error:
            if code == 0:
                raise TaskFailed(str(error), outputs=outputs) from error
            lines = context.logger
            lines.warn("The output files could not be stored: {}", error)
        if code != 0:
            signal = f" (killed by signal {-code})" if code < 0 else ""
            raise TaskFailed(f"the command failed with exit code {code}{signal}", outputs=outputs)
        return outputs


def _legacy_docker(given: Mapping[str, Any]) -> Docker:
    """The runner that the deprecated property `docker` asks for; its `image` is the task's."""
    return Docker.model_validate(
        {"type": DOCKER_TYPE, **{name: value for name, value in given.items() if name != "image"}}
    )
