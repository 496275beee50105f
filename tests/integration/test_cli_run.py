"""`flowtide run`, `flow validate` and the examples of the documentation, through the whole engine in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowtide.cli.commands import flowtide

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

#: What each example ends as and gives; a new example has to be added here.
OUTCOMES: dict[str, tuple[str, dict[str, Any]]] = {
    "approval": ("SUCCESS", {}),
    "child": ("SUCCESS", {"greeting": "Hello nobody!"}),
    "decide": ("SUCCESS", {}),
    "errors_and_retry": ("WARNING", {}),
    "every_hour": ("SUCCESS", {}),
    "for_each_city": ("SUCCESS", {}),
    "hello": ("SUCCESS", {}),
    "order": ("SUCCESS", {"invoice": "3 x medium for Ada, 6 EUR each"}),
    "parallel_checks": ("SUCCESS", {}),
    "parent": ("SUCCESS", {"greetings": "Hello Grace! Hello Alan!"}),
    "scripts": ("SUCCESS", {"total": 10}),
    "webhook": ("SUCCESS", {}),
}


Terminal = pytest.CaptureFixture[str]


def _flowtide(*arguments: str | Path) -> Any:
    """Call a command in this process; gives its exit code."""
    return flowtide.main([str(each) for each in arguments], prog_name="flowtide", standalone_mode=False)


def _run(terminal: Terminal, *arguments: str | Path) -> tuple[Any, dict[str, Any]]:
    """The exit code, and the outcome."""
    code = _flowtide("run", "--output", "json", *arguments)
    return code, json.loads(terminal.readouterr().out)


def _flow(folder: Path, text: str) -> Path:
    path = folder / "flow.yaml"
    path.write_text(f"id: tried\nnamespace: tests\n{text}")
    return path


def test_every_example_has_an_outcome() -> None:
    """No example is left untried."""
    assert sorted(path.stem for path in EXAMPLES.glob("*.yaml")) == sorted(OUTCOMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OUTCOMES))
def test_example_ends_as_it_says(name: str, capsys: Terminal) -> None:
    """Each example runs with its default inputs, and gives its outputs."""
    state, outputs = OUTCOMES[name]

    code, outcome = _run(
        capsys, EXAMPLES / f"{name}.yaml", EXAMPLES / "child.yaml", "--resume", "--timeout", "30s"
    )

    assert (code, outcome["state"], outcome["outputs"]) == (0, state, outputs)


def test_examples_are_valid(capsys: Terminal) -> None:
    """`flowtide flow validate` finds nothing in the examples, not even a warning."""
    code = _flowtide("flow", "validate", EXAMPLES)

    written = capsys.readouterr()
    assert code == 0
    assert written.out == ""
    assert "warning" not in written.err


def test_a_failed_flow_gives_1_and_runs_its_error_tasks(capsys: Terminal) -> None:
    """The exit code tells a failure, and the reason is in the outcome."""
    code, outcome = _run(capsys, EXAMPLES / "errors_and_retry.yaml", "-i", "break_down=true")

    states = {run["taskId"]: run["state"] for run in outcome["taskRuns"]}
    assert (code, outcome["state"]) == (1, "FAILED")
    assert states["crash"] == "FAILED"
    assert states["apologise"] == "SUCCESS"
    assert states["clean_up"] == "SUCCESS"


def test_an_execution_that_takes_too_long_is_killed(tmp_path: Path, capsys: Terminal) -> None:
    """`--timeout` ends it as KILLED, with exit code 3 and the reason."""
    flow = _flow(tmp_path, "tasks: [{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}]\n")

    code, outcome = _run(capsys, flow, "--timeout", "0.5s")

    assert (code, outcome["state"]) == (3, "KILLED")
    assert outcome["error"] == "it took longer than 0.5 s"


def test_a_pause_that_nobody_can_resume_ends_the_run(capsys: Terminal) -> None:
    """Without a terminal and without `--resume` it does not wait for ever."""
    code, outcome = _run(capsys, EXAMPLES / "approval.yaml")

    assert (code, outcome["state"]) == (3, "KILLED")
    assert "--resume" in outcome["error"]


def test_wrong_inputs_give_2_and_all_that_is_wrong(capsys: Terminal) -> None:
    """Nothing runs, and each problem is a line."""
    code = _flowtide("run", EXAMPLES / "order.yaml", "-i", "quantity=0", "-i", "size=huge")

    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("flowtide: ")]
    assert code == 2
    assert len(lines) == 2


def test_a_file_input_is_stored(tmp_path: Path, capsys: Terminal) -> None:
    """The path of a FILE input becomes a stored file that tasks can read."""
    data = tmp_path / "data.txt"
    data.write_text("from a file")
    flow = _flow(
        tmp_path,
        "inputs: [{id: data, type: FILE}]\n"
        'tasks: [{id: show, type: io.kestra.plugin.core.debug.Return, format: "{{ read(inputs.data) }}"}]\n'
        'outputs: [{id: content, type: STRING, value: "{{ outputs.show.value }}"}]\n',
    )

    code, outcome = _run(capsys, flow, "-i", f"data={data}")

    assert (code, outcome["outputs"]) == (0, {"content": "from a file"})


def test_an_invalid_flow_is_told_by_place(tmp_path: Path, capsys: Terminal) -> None:
    """Path, line, column and property of each mistake; `run` gives 2 and `validate` 1."""
    flow = _flow(tmp_path, "tasks:\n  - id: a\n    type: io.kestra.Nope\n")
    expected = f"{flow}:5:11: tasks[0].type: there is no task of type `io.kestra.Nope`"

    assert _flowtide("flow", "validate", flow) == 1
    assert capsys.readouterr().out.startswith(expected)
    assert _flowtide("run", flow) == 2
    assert capsys.readouterr().err.startswith(expected)
