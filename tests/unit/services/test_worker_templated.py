"""TemplatedTask (RUN-27): the text is rendered, read as a task, and that task runs in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtide.model.states import State
from tests.unit.services.worker_harness import WorkerHarness

TEMPLATED = "core.templating.TemplatedTask"
RETURN = "type: io.kestra.plugin.core.debug.Return\n"


async def test_the_task_in_the_text_gives_the_outputs(tmp_path: Path) -> None:
    """Expressions give values and whole properties; `id` may be left out or given."""
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        spec = RETURN + "{{ inputs.name }}: {{ inputs.value }} {{ task.id }}\n"
        variables = {"inputs": {"name": "format", "value": "said"}, "task": {"id": "t"}}
        assert (await harness.run(TEMPLATED, spec=spec, variables=variables)).outputs == {"value": "said t"}
        assert (await harness.run(TEMPLATED, spec="id: own\n" + RETURN)).state is State.SUCCESS


async def test_properties_that_are_no_templates_elsewhere_are_here(tmp_path: Path) -> None:
    """Page 063: numbers, booleans and choices too; the level drops the line."""
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        spec = "type: io.kestra.plugin.core.log.Log\nmessage: [a, b]\nlevel: {{ inputs.level }}\nlogLevel: INFO\n"
        for level in ("DEBUG", "WARN"):
            end = await harness.run(TEMPLATED, spec=spec, variables={"inputs": {"level": level}})
            assert end.state is State.SUCCESS, end.error
        await harness.until(lambda: len(harness.lines) == 2)
        assert {line.level for line in harness.lines} == {"WARN"}


async def test_it_runs_as_the_task_in_the_text_does(tmp_path: Path) -> None:
    """A script has its directory, its runner and its outputs; the directory is removed."""
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        spec = """
type: io.kestra.plugin.scripts.shell.Commands
taskRunner:
  type: io.kestra.plugin.core.runner.Process
commands:
  - echo '::{"outputs":{"here":"'$(basename {{ inputs.folder }})'"}}::'
"""
        end = await harness.run(TEMPLATED, spec=spec, variables={"inputs": {"folder": "/a/b"}})
        assert end.outputs["vars"] == {"here": "b"}
        await harness.until(lambda: not any((tmp_path / "work").iterdir()))


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("type: [", "line 2: is not YAML"),
        ("a text", "must be a task, a mapping"),
        ("id: x\n\ntype: io.kestra.plugin.Missing", "line 3, type: there is no task of type"),
        (RETURN + "\nfromat: x", "line 3, fromat: there is no such property"),
        ("format: x", "needs a `type`"),
        (
            "type: io.kestra.plugin.core.flow.Sequential\ntasks: []",
            "line 1, type: the task type `io.kestra.plugin.core.flow.Sequential` is not one that a worker runs",
        ),
        (f"type: io.kestra.plugin.{TEMPLATED}\nspec: x", "cannot stand in the text of another one"),
        (RETURN + "retry: {type: constant, interval: PT1S}", "line 2, retry: stands beside `spec`"),
    ],
)
async def test_what_is_wrong_with_the_text_names_its_line(tmp_path: Path, spec: str, error: str) -> None:
    """The line counts in `spec` as rendered, where the mistake is seen."""
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        end = await harness.run(TEMPLATED, spec=spec)
        assert end.state is State.FAILED
        assert "property `spec`: " in (end.error or "")
        assert error in (end.error or "")


async def test_a_template_that_fails_names_the_property(tmp_path: Path) -> None:
    """Before anything was read as a task."""
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        end = await harness.run(TEMPLATED, spec=RETURN + "format: {{ inputs.none }}")
        assert end.state is State.FAILED
        assert (end.error or "").startswith("property `spec`: ")
