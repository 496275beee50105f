"""Script tasks on the Process runner, run by a worker."""

from __future__ import annotations

import os
import signal
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowtide.model.commands import ReportRunEnded
from flowtide.model.encrypted import is_encrypted
from flowtide.model.states import State
from flowtide.plugins.tasks.scripts.files import output_pattern, remove_files
from flowtide.secrets import Encryption
from tests.unit.services.worker_harness import WorkerHarness

PROCESS = {"type": "io.kestra.plugin.core.runner.Process"}


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[WorkerHarness]:
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        yield harness


async def _commands(harness: WorkerHarness, *commands: str, **properties: Any) -> ReportRunEnded:
    return await harness.run(
        "scripts.shell.Commands", commands=list(commands), taskRunner=PROCESS, **properties
    )


async def test_lines_of_both_streams_are_logged(harness: WorkerHarness) -> None:
    """P11: stdout is INFO, stderr is ERROR and changes no state; the exit code is an output."""
    ended = await _commands(harness, "echo out", "echo err >&2")
    assert ended.state is State.SUCCESS
    assert ended.outputs == {"exitCode": 0, "vars": {}, "outputFiles": {}}
    assert (harness.messages("INFO"), harness.messages("ERROR")) == (["out"], ["err"])


async def test_commands_share_one_shell(harness: WorkerHarness) -> None:
    """S11, S12: a variable and a folder set before carry over to the commands."""
    await _commands(harness, 'echo "$WHO in $(basename $PWD)"', beforeCommands=["mkdir d", "cd d", "WHO=Ada"])
    assert harness.messages("INFO") == ["Ada in d"]


async def test_the_first_failure_ends_the_script(harness: WorkerHarness) -> None:
    """S14: by default; with `failFast: false` the last command decides."""
    ended = await _commands(harness, "exit_with() { return 3; }", "exit_with", "echo never")
    assert ended.state is State.FAILED
    assert ended.error == "the command failed with exit code 3"
    assert ended.outputs["exitCode"] == 3
    assert "never" not in harness.messages()
    assert (await _commands(harness, "false", "true", failFast=False)).state is State.SUCCESS


async def test_the_protocol_gives_outputs_metrics_and_lines(harness: WorkerHarness) -> None:
    """P02 to P10: on both streams, several keys at once, later outputs over earlier ones."""
    ended = await _commands(
        harness,
        """echo '::{"outputs":{"a":1,"b":"x"}}::'""",
        """echo '::{"outputs": {"a": 2.5, "c": [1, {"d": null}]}, "logs": [{"level":"WARN","message":"w"}]}::' >&2""",
        """echo '::{"metrics":[{"name":"rows","type":"counter","value":7,"tags":{"name":"n","ok":true}},"""
        """{"name":"took","type":"timer","value":2.5}]}::'""",
    )
    assert ended.outputs["vars"] == {"a": 2.5, "b": "x", "c": [1, {"d": None}]}
    assert harness.messages("WARN") == ["w"]
    await harness.until(lambda: len(harness.measured) == 2)
    assert [(m.name, m.type, m.value, m.tags) for m in harness.measured] == [
        ("rows", "counter", 7, {"name": "n", "ok": "true"}),
        ("took", "timer", 2.5, {}),
    ]


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("::{broken}::", "WARN"),
        ('::{"outputs":[1]}::', "WARN"),
        ('::{"metrics":{"a":1}}::', "WARN"),
        ('::{"metrics":[{"name":"a","type":"counter","value":"1"}]}::', "WARN"),
        ('::{"unknown":1}::', "WARN"),
        ('{"outputs":{"a":1}}', "INFO"),
        ('said ::{"outputs":{"a":1}}::', "INFO"),
    ],
)
async def test_what_is_no_protocol_fails_nothing(harness: WorkerHarness, line: str, level: str) -> None:
    """P12, P13: a malformed line is a warning, text around it makes it a log line."""
    ended = await _commands(harness, f"cat <<'END'\n{line}\nEND")
    assert (ended.state, ended.outputs["vars"]) == (State.SUCCESS, {})
    assert len(harness.messages(level)) == 1


async def test_encrypted_outputs_are_encrypted(tmp_path: Path) -> None:
    """P08: what is given as `encryptedOutputs` is recorded encrypted and masked; without a key the run fails."""
    line = """echo '::{"encryptedOutputs":{"token":"hunter2"}}::'; echo said hunter2"""
    async with WorkerHarness(tmp_path, cipher=Encryption(bytes(32))) as harness:
        harness.start()
        ended = await _commands(harness, line)
        assert ended.state is State.SUCCESS, ended.error
        assert is_encrypted(ended.outputs["vars"]["token"])
        assert "hunter2" not in str(ended.outputs)
        assert harness.messages("INFO") == ["said ******"]
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        ended = await _commands(harness, line)
        assert ended.state is State.FAILED
        assert "encryption is not configured" in (ended.error or "")


async def test_files_come_and_go(harness: WorkerHarness) -> None:
    """S30 to S32: input files by content and URI, output files by glob, URIs in commands become paths."""
    first = await _commands(
        harness,
        "mkdir -p out/deep",
        "cat a/in.txt > out/deep/x.txt",
        "echo no > out/other.md",
        "ln -s /etc/passwd out/link.txt",
        inputFiles={"a/in.txt": "Hi {{ inputs.who }}", "none.txt": None},
        outputFiles=["out/**/*.txt", "out/*.txt"],
        variables={"inputs": {"who": "Ada"}},
    )
    uri = first.outputs["outputFiles"]["out/deep/x.txt"]
    assert list(first.outputs["outputFiles"]) == ["out/deep/x.txt"]
    assert uri == "kestra:///company/team/f/executions/e1/tasks/t/r1/out/deep/x.txt"
    await _commands(
        harness,
        "cat {{ outputs.first.outputFiles['out/deep/x.txt'] }} b.txt",
        inputFiles={"b.txt": uri},
        variables={"outputs": {"first": first.outputs}},
    )
    assert "Hi AdaHi Ada" in harness.messages("INFO")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "./x", "a\\b", ""])
async def test_input_files_cannot_leave_their_folder(harness: WorkerHarness, name: str) -> None:
    """A name that is no plain relative path fails the run."""
    ended = await _commands(harness, "true", inputFiles={name: "x"})
    assert ended.state is State.FAILED
    assert "is not a relative path" in (ended.error or "")


async def test_a_message_need_not_be_a_text(harness: WorkerHarness) -> None:
    """P07: the Node.js package hands on whatever was logged; it is written as JSON."""
    await _commands(harness, """echo '::{"logs":[{"level":"INFO","message":{"a":[1,true]}}]}::'""")
    assert harness.messages("INFO") == ['{"a": [1, true]}']


def test_own_files_leave_a_shared_folder(tmp_path: Path) -> None:
    """S35: what was made for a script is removed after it, for another task may go on in the folder."""
    made = [tmp_path / ".script.py", tmp_path / ".stored-0-0" / "in.txt"]
    made[1].parent.mkdir()
    for path in (*made, tmp_path / "mine.txt"):
        path.touch()
    for _ in range(2):  # of files that are gone already nothing is said
        remove_files(made)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


async def test_files_of_others_cannot_be_read(harness: WorkerHarness) -> None:
    """FIL-04: the URI of another execution's file fails the run, in commands too."""
    uri = "kestra:///company/team/f/executions/e2/tasks/t/r1/x"
    await harness.storage.put("main", uri, b"secret")
    ended = await _commands(harness, f"cat {uri}")
    assert "does not belong to this execution" in (ended.error or "")
    ended = await _commands(harness, f"cat {uri}", variables={"trigger": {"executionId": "e2"}})
    assert ended.state is State.SUCCESS


async def test_variables_and_environment(harness: WorkerHarness) -> None:
    """PR3, S15: `workingDir`, WORKING_DIR, OUTPUT_DIR and `env`."""
    ended = await _commands(
        harness,
        '[ "{{ workingDir }}" = "$WORKING_DIR" ] && [ "$PWD" = "$WORKING_DIR" ]',
        'echo "$A" > {{ outputDir }}/a.txt',
        env={"A": "{{ flow.id }}", "B": None},
        outputDirectory=True,
    )
    assert ended.state is State.SUCCESS, ended.error
    assert list(ended.outputs["outputFiles"]) == ["a.txt"]
    assert await harness.storage.get("main", ended.outputs["outputFiles"]["a.txt"]) == b"f\n"


async def test_secrets_of_a_script_are_masked(tmp_path: Path) -> None:
    """A secret in `env` that the script prints is six stars in the log."""
    async with WorkerHarness(tmp_path, secrets={"SECRET_A": "aHVudGVyMg=="}) as harness:
        harness.start()
        await _commands(harness, "echo got $A", env={"A": "{{ secret('A') }}"})
        assert harness.messages("INFO") == ["got ******"]


async def test_a_secret_across_two_pieces_of_a_long_line_is_masked(tmp_path: Path) -> None:
    """A line of more than 32 KiB is logged in pieces; a secret on the cut shows in neither."""
    async with WorkerHarness(tmp_path, secrets={"SECRET_A": "aHVudGVyMg=="}) as harness:
        harness.start()
        script = "head -c 32765 /dev/zero | tr '\\0' x; echo $A; echo next"
        await _commands(harness, script, env={"A": "{{ secret('A') }}"})
        joined = "".join(harness.messages("INFO"))
        assert "hunter2" not in joined
        assert joined.endswith("x******next")


async def test_huge_and_binary_output_is_bounded(harness: WorkerHarness) -> None:
    """A line without end comes in pieces; what is no UTF-8 is replaced."""
    ended = await _commands(harness, "head -c 300000 /dev/zero | tr '\\0' x", "printf '\\377\\n'")
    assert ended.state is State.SUCCESS
    lines = harness.messages("INFO")
    assert max(map(len, lines)) <= 64 * 1024
    assert sum(line.count("x") for line in lines) == 300_000
    assert lines[-1].endswith("�")


async def test_a_kill_ends_the_whole_tree(harness: WorkerHarness, tmp_path: Path) -> None:
    """K09: also children that ignore SIGTERM, and those in a session of their own, are gone when KILLED is said."""
    pids = tmp_path / "pids"
    job = harness.job(
        "scripts.shell.Commands",
        commands=[
            f"(trap '' TERM; echo $$ >> {pids}; exec setsid sleep 300) &",
            f"setsid sh -c 'echo $$ >> {pids}; sleep 300' &",
            f"echo $$ >> {pids}",
            "echo ready",
            "wait",
        ],
        taskRunner=PROCESS,
    )
    await harness.send(job)
    await harness.until(lambda: "ready" in harness.messages())
    children = psutil.Process().children(recursive=True)
    assert len(children) >= 3
    await harness.kill(job.run_id)
    assert (await harness.end_of(job)).state is State.KILLED
    await harness.until(lambda: not any(_lives(child) for child in children))


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_process_left_behind_does_not_hold_the_task(harness: WorkerHarness) -> None:
    """A background process that keeps the pipes open is ended with its script."""
    ended = await _commands(harness, "sleep 300 &", "echo done")
    assert ended.state is State.SUCCESS
    assert harness.messages("INFO") == ["done"]


async def test_a_signal_is_named(harness: WorkerHarness) -> None:
    """A process that is killed from outside fails with the signal."""
    ended = await _commands(harness, "kill -9 $$")
    assert ended.error == f"the command failed with exit code -9 (killed by signal {int(signal.SIGKILL)})"


async def test_an_interpreter_that_is_missing_is_named(harness: WorkerHarness) -> None:
    """Nothing to start: a sentence with the name."""
    ended = await _commands(harness, "true", interpreter=["/no/such/shell", "-c"])
    assert ended.error == "the process `/no/such/shell` could not be started: No such file or directory"


async def test_a_large_script_still_runs(harness: WorkerHarness) -> None:
    """Beyond what one argument may hold the commands go to a file."""
    ended = await harness.run(
        "scripts.shell.Script", script=f": '{'x' * 200_000}'\necho big", taskRunner=PROCESS
    )
    assert ended.state is State.SUCCESS, ended.error
    assert harness.messages("INFO") == ["big"]


async def test_the_working_directory_is_removed(harness: WorkerHarness, tmp_path: Path) -> None:
    """S34: nothing stays on the worker's disk."""
    await _commands(harness, "touch a")
    await harness.until(lambda: not os.listdir(tmp_path / "work"))


@pytest.mark.parametrize("runner", [None, {"type": "io.kestra.plugin.scripts.runner.docker.Docker"}])
async def test_docker_is_refused_with_the_way_out(
    harness: WorkerHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: dict[str, Any] | None
) -> None:
    """x378: the default runner is Docker; without an engine the run fails and says how to use Process."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")  # whatever this machine runs
    properties = {} if runner is None else {"taskRunner": runner}
    ended = await harness.run("scripts.shell.Commands", commands=["echo no"], **properties)
    assert ended.state is State.FAILED
    assert "taskRunner: {type: io.kestra.plugin.core.runner.Process}" in (ended.error or "")
    assert "no" not in harness.messages("INFO")


async def test_the_deprecated_runner_property_works(harness: WorkerHarness) -> None:
    """S26: `runner: PROCESS`."""
    ended = await harness.run("scripts.shell.Commands", commands=["echo old"], runner="PROCESS")
    assert ended.state is State.SUCCESS


async def test_a_python_script_runs(harness: WorkerHarness) -> None:
    """Y05: JSON literals of expressions are valid; outputs travel by the protocol."""
    ended = await harness.run(
        "scripts.python.Script",
        script="import json\nx = {{ inputs.x }}\nprint('::' + json.dumps({'outputs': {'x': x}}) + '::')",
        taskRunner=PROCESS,
        variables={"inputs": {"x": {"a": True, "b": None}}},
    )
    assert ended.state is State.SUCCESS, ended.error
    assert ended.outputs["vars"] == {"x": {"a": True, "b": None}}


async def test_python_commands_see_their_files(harness: WorkerHarness) -> None:
    """A file of `inputFiles` is run by a command."""
    ended = await harness.run(
        "scripts.python.Commands",
        commands=["python3 main.py"],
        inputFiles={"main.py": "print('from a file')"},
        taskRunner=PROCESS,
    )
    assert ended.state is State.SUCCESS, ended.error
    assert harness.messages("INFO") == ["from a file"]


async def test_another_python_version_is_refused(harness: WorkerHarness) -> None:
    """The Process runner has the worker's Python only."""
    ended = await harness.run("scripts.python.Script", script="1", pythonVersion="2.7", taskRunner=PROCESS)
    assert (ended.error or "").startswith("property `pythonVersion`: the worker has Python 3.")


async def test_dependencies_are_installed_once_and_shared(harness: WorkerHarness, tmp_path: Path) -> None:
    """Y01: packages are on the path of the script; the second run finds them kept."""
    wheel = _wheel(tmp_path)
    properties = {"script": "import tiny\nprint(tiny.WORD)", "dependencies": [f"tiny @ {wheel.as_uri()}"]}
    first = await harness.run("scripts.python.Script", **properties, taskRunner=PROCESS)
    assert first.state is State.SUCCESS, first.error
    wheel.unlink()
    second = await harness.run("scripts.python.Script", **properties, taskRunner=PROCESS)
    assert second.state is State.SUCCESS, second.error
    assert harness.messages("INFO") == ["small", "small"]
    option = await harness.run("scripts.python.Script", script="1", dependencies=["-r x"], taskRunner=PROCESS)
    assert "is an option, not a requirement" in (option.error or "")


def _wheel(folder: Path) -> Path:
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny.py", "WORD = 'small'\n")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(
            "tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\n")
    return path


@pytest.mark.parametrize(
    ("pattern", "matches", "other"),
    [
        ("*.csv", "a.csv", "b/a.csv"),
        ("**/*.csv", "a.csv", "a.txt"),
        ("**/*.csv", "x/y/a.csv", "x/y/acsv"),
        ("dir/**", "dir/x/y", "dirx/y"),
        ("./a?[0-9].{txt,md}", "ab1.md", "ab1.csv"),
        ("a+b(1).txt", "a+b(1).txt", "aab1.txt"),
        ("[!a].x", "b.x", "a.x"),
    ],
)
def test_globs(pattern: str, matches: str, other: str) -> None:
    """S32: globs match whole relative paths."""
    expression = output_pattern(pattern)
    assert expression.fullmatch(matches)
    assert not expression.fullmatch(other)
