"""`flowtide run FILE`: a flow in a file in, its logs, progress, outputs and an exit code by state out (CLI-13)."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowtide.cli.options import Invocation, common_options
from flowtide.cli.script_runner import ScriptRunner, script_runner_option, with_script_runner

if TYPE_CHECKING:
    from flowtide.cli.flow_folder import FlowFile
    from flowtide.cli.single_run import Outcome
    from flowtide.settings import Settings

INVALID = 2  # the exit code when nothing was run


def run_options(command: Any) -> Any:
    """The options of `flowtide run`, which `flowtide flow test` has too."""
    for option in (
        click.option("--resume", is_flag=True, help="Go on at once where the flow pauses for a person."),
        click.option("--timeout", help="Kill the execution after this time: 90, 30s, 5m, 2h or PT30S."),
        click.option(
            "--output", type=click.Choice(["text", "json"]), default="text", show_default=True,
            help="How the outcome is written to standard output; logs and progress go to standard error.",
        ),
        click.option(
            "--data", type=click.Path(file_okay=False, path_type=Path),
            help="Keep log and files in this folder; by default they are gone after the run.",
        ),
        click.option("--progress/--no-progress", default=None, help="Draw the task runs; only on a terminal."),
        click.option(
            "-i", "--inputs", "--input", "inputs", multiple=True, metavar="NAME=VALUE",
            help="An input; may be given again. NAME=@FILE reads the value from a file; for FILE inputs give a path.",
        ),
    ):  # fmt: skip  # a table
        command = option(command)
    return script_runner_option(command)


@click.command()
@run_options
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@common_options
def run(invocation: Invocation, **given: Any) -> int:
    """Run the flow in the first of FILES in this process, and show what it does.

    Further FILES, or folders, hold flows that it starts as subflows. Neither a server nor a port is needed.
    Exit codes: 0 success (with warnings or without), 1 the flow failed, 2 the flow or its inputs are not valid,
    3 it was killed or cancelled.
    """
    return run_flow(invocation, **given)


def run_flow(
    invocation: Invocation,
    *,
    files: tuple[Path, ...],
    inputs: tuple[str, ...],
    output: str,
    timeout: str | None,
    data: Path | None,
    resume: bool,
    progress: bool | None,
    script_runner: str,
) -> int:
    """Run the first file; gives the exit code.  Raises FlowtideError."""
    if files[0].is_dir():
        raise click.UsageError(f"{files[0]} is a folder; name the file of the flow to run first")
    limit = _timeout(timeout)
    with ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowtide-run-")))
        settings = invocation.settings(
            {
                "data-path": str(folder),
                "queue.type": "embedded",
                "repository.type": "embedded",
                "storage.type": "local",
                "storage.local.base-path": str(folder / "storage"),
            }
        )
        settings, about_scripts = with_script_runner(settings, ScriptRunner(script_runner))
        invocation.configure_logging(settings, default="WARN")
        if about_scripts is not None:
            import structlog

            structlog.get_logger(__name__).warning(about_scripts)
        read = read_files(settings, files)
        if read is None:
            return INVALID
        from flowtide.errors import InputError

        try:
            outcome = _run(invocation, settings, read, inputs, limit, resume, progress)
        except InputError as error:
            for problem in error.problems:
                click.echo(f"flowtide: {problem.message}", err=True)
            return INVALID
        _write(outcome, output)
        return outcome.exit_code


def _run(
    invocation: Invocation,
    settings: Settings,
    files: list[FlowFile],
    inputs: tuple[str, ...],
    limit: float | None,
    resume: bool,
    progress: bool | None,
) -> Outcome:
    from datetime import timedelta

    from flowtide.cli.event_loop import run_loop
    from flowtide.cli.flow_inputs import read_pairs
    from flowtide.cli.progress import LiveScreen, PlainScreen, Screen
    from flowtide.cli.single_run import SingleRun
    from flowtide.model.entries import Level

    given = read_pairs(inputs)
    drawn = sys.stderr.isatty() if progress is None else progress and sys.stderr.isatty()
    level = invocation.level

    async def work() -> Outcome:
        screen: Screen = LiveScreen() if drawn else PlainScreen()
        try:
            return await SingleRun(
                settings,
                files,
                screen,
                given=given,
                resume=resume,
                timeout=None if limit is None else timedelta(seconds=limit),
                least=Level.INFO if level is None else Level(level),
            ).run()
        finally:
            screen.close()

    return run_loop(work())


def read_files(settings: Settings, paths: tuple[Path, ...]) -> list[FlowFile] | None:
    """Read every file; when one is not valid, all that is wrong is told, and None comes."""
    from flowtide.cli.flow_folder import flow_files, read_flow_file, violation_line
    from flowtide.cli.flow_reading import flow_reader

    read = flow_reader(settings)
    found = [read_flow_file(each, read, expand=True) for path in paths for each in flow_files(path)]
    for file in found:
        for warning in file.parsed.warnings:
            click.echo(f"{file.path}: warning: {warning}", err=True)
    wrong = [(file.path, violation) for file in found for violation in file.parsed.violations]
    for path, violation in wrong:
        click.echo(violation_line(path, violation), err=True)
    return None if wrong else found


def _write(outcome: Outcome, output: str) -> None:
    import json

    from flowtide.cli.progress import COLOURS

    if output == "json":
        click.echo(json.dumps(outcome.document(), indent=2, ensure_ascii=False, default=str))
        return
    began, ended = outcome.began, outcome.ended
    seconds = (ended - began).total_seconds() if began is not None and ended is not None else 0.0
    state = click.style(outcome.state.value, fg=COLOURS.get(outcome.state), bold=True)
    reason = f": {outcome.why or outcome.error}" if outcome.why or outcome.error else ""
    count = len(outcome.runs.all)
    runs = "1 task run" if count == 1 else f"{count} task runs"
    click.echo(
        f"{outcome.flow.namespace}.{outcome.flow.id} {state} in {seconds:.2f} s, {runs}{reason}", err=True
    )
    for name, value in (outcome.outputs or {}).items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        click.echo(f"{name}: {shown}")


def _timeout(text: str | None) -> float | None:
    """Seconds of a duration as people write it."""
    if text is None:
        return None
    from flowtide.model.durations import parse_duration

    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    try:
        if text[-1:] in units:
            seconds = float(text[:-1]) * units[text[-1]]
        elif text.upper().startswith("P"):
            seconds = parse_duration(text).total_seconds()
        else:
            seconds = float(text)
    except ValueError:
        raise click.BadParameter(f"{text} is no duration; write 90, 30s, 5m, 2h or PT30S") from None
    if not 0 < seconds < float("inf"):
        raise click.BadParameter("it must be longer than nothing")
    return seconds
