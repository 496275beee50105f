"""Inline tasks: one atomic write for start, lines, metrics and end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowtide.model.commands import ReportRunEnded, ReportRunStarted
from flowtide.model.offload import offloaded_uri
from flowtide.model.states import State
from tests.unit.services.worker_harness import WorkerHarness


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[WorkerHarness]:
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        yield harness


async def test_a_line_is_written_before_the_end_is_reported(harness: WorkerHarness) -> None:
    """A Log task reports its start, writes its rendered line and reports SUCCESS."""
    ended = await harness.run(
        "core.log.Log", message="Hi {{ inputs.who }}", variables={"inputs": {"who": "Ada"}}
    )
    assert ended.state is State.SUCCESS
    await harness.until(lambda: harness.lines)
    assert harness.messages("INFO") == ["Hi Ada"]
    line = harness.lines[0]
    assert (line.execution_id, line.task_run_id, line.attempt_number) == ("e1", "r1", 0)
    assert [type(report) for report in harness.reports] == [ReportRunStarted, ReportRunEnded]


async def test_a_list_of_messages_gives_a_line_each(harness: WorkerHarness) -> None:
    """RUN-01: a list is one line each, at the level that the task names, which may be a template."""
    await harness.run(
        "core.log.Log",
        message=["a", "{{ vars.b }}"],
        level="{{ vars.l }}",
        variables={"vars": {"b": 2, "l": "warn"}},
    )
    await harness.until(lambda: len(harness.lines) == 2)
    assert harness.messages("WARN") == ["a", "2"]


async def test_an_unknown_level_fails_with_the_property_named(harness: WorkerHarness) -> None:
    """A level that does not exist is accepted at deployment and fails the run (H)."""
    ended = await harness.run("core.log.Log", message="x", level="LOUD")
    assert ended.state is State.FAILED
    assert ended.error == "property `level`: 'LOUD' is none of ERROR, WARN, INFO, DEBUG, TRACE"


async def test_log_level_drops_what_is_below(harness: WorkerHarness) -> None:
    """TSK-09: `logLevel: WARN` keeps no INFO line."""
    await harness.run("core.log.Log", message="quiet", logLevel="WARN")
    await harness.run("core.log.Log", message="loud", level="ERROR", logLevel="WARN")
    await harness.until(lambda: harness.lines)
    assert harness.messages() == ["loud"]


async def test_return_gives_its_text_and_two_metrics(harness: WorkerHarness) -> None:
    """RUN-02: `value`, and the metrics `length` and `duration` tagged with the format."""
    ended = await harness.run("core.debug.Return", format="{{ flow.id }}!")
    assert ended.outputs == {"value": "f!"}
    await harness.until(lambda: len(harness.measured) == 2)
    assert [(metric.name, metric.type, metric.tags) for metric in harness.measured] == [
        ("length", "counter", {"format": "{{ flow.id }}!"}),
        ("duration", "timer", {"format": "{{ flow.id }}!"}),
    ]
    assert harness.measured[0].value == 2


async def test_output_values_keep_structure(harness: WorkerHarness) -> None:
    """RUN-08: texts are rendered to text at every depth, other values stay."""
    ended = await harness.run(
        "core.output.OutputValues",
        values={"a": "{{ inputs.n }}", "b": [1, {"c": "{{ inputs.n }}x"}], "d": True},
        variables={"inputs": {"n": 7}},
    )
    assert ended.outputs == {"values": {"a": "7", "b": [1, {"c": "7x"}], "d": True}}


async def test_a_failing_template_names_its_property(harness: WorkerHarness) -> None:
    """A variable that is not there fails the run with the property, in the report and as an ERROR line."""
    ended = await harness.run("core.output.OutputValues", values={"deep": ["{{ outputs.nothing.x }}"]})
    assert ended.state is State.FAILED
    assert ended.error is not None
    assert ended.error.startswith("property `values.deep[0]`: ")
    await harness.until(lambda: harness.lines)
    assert harness.messages("ERROR") == [ended.error]
    assert "Traceback" not in "".join(harness.messages())


async def test_fail_fails_only_when_its_condition_holds(harness: WorkerHarness) -> None:
    """RUN-03."""
    assert (await harness.run("core.execution.Fail")).error == "Task failure"
    kept = await harness.run("core.execution.Fail", condition="{{ 1 > 2 }}", errorMessage="no")
    assert kept.state is State.SUCCESS
    fails = await harness.run(
        "core.execution.Fail", condition="{{ 2 > 1 }}", errorMessage="because {{ flow.id }}"
    )
    assert (fails.state, fails.error) == (State.FAILED, "because f")


async def test_assert_counts_and_logs_what_does_not_hold(harness: WorkerHarness) -> None:
    """RUN-04: each false condition is an ERROR line; the counts are metrics."""
    ended = await harness.run("core.execution.Assert", conditions=["{{ 1 == 1 }}", "{{ 1 == 2 }}"])
    assert ended.error == "1 of 2 assertions do not hold"
    await harness.until(lambda: len(harness.measured) == 2)
    assert {metric.name: metric.value for metric in harness.measured} == {"failed": 1, "success": 1}
    assert "Assertion `{{ 1 == 2 }}` does not hold" in harness.messages("ERROR")


async def test_large_outputs_go_to_the_storage_and_come_back(tmp_path: Path) -> None:
    """Outputs beyond the limit travel as a marker, and the task that names them sees them as they were."""
    async with WorkerHarness(tmp_path, outputs_limit_bytes=1000) as harness:
        harness.start()
        large = "x" * 5000
        first = await harness.run("core.output.OutputValues", values={"large": large})
        uri = offloaded_uri(first.outputs)
        assert uri == "kestra:///company/team/f/executions/e1/tasks/t/r1/0/outputs.json"
        second = await harness.run(
            "core.debug.Return",
            format="{{ outputs.big.values.large | length }}",
            variables={"outputs": {"big": first.outputs}},
        )
        assert second.outputs == {"value": "5000"}
        assert sum(isinstance(report, ReportRunEnded) for report in harness.reports) == 2


async def test_offloaded_outputs_of_another_execution_are_refused(harness: WorkerHarness) -> None:
    """A made-up marker cannot read another execution's files."""
    uri = "kestra:///company/team/f/executions/other/tasks/t/r1/0/outputs.json"
    ended = await harness.run(
        "core.debug.Return",
        format="{{ outputs.big }}",
        variables={"outputs": {"big": {"$offloaded": {"uri": uri, "bytes": 1}}}},
    )
    assert ended.state is State.FAILED
    assert ended.error is not None
    assert "does not belong to this execution" in ended.error


@pytest.mark.parametrize("inside", [False, True])
async def test_the_files_of_subflows_can_be_read(harness: WorkerHarness, inside: bool) -> None:
    """Page 474: a flow reads the file that its subflow gave in its outputs, in a loop too."""
    uri = "kestra:///company/team/child/executions/e7/tasks/t/r1/some.txt"
    await harness.storage.put("main", uri, b"critical")
    told = {"executionId": "e7", "state": "SUCCESS", "outputs": {"some": uri}}
    ended = await harness.run(
        "core.debug.Return",
        format="{{ read(inputs.uri) }}",
        variables={"inputs": {"uri": uri}, "outputs": {"call": {"a": told} if inside else told}},
    )
    assert ended.outputs == {"value": "critical"}


async def test_inline_runs_are_counted(harness: WorkerHarness) -> None:
    """MET-8: started and ended, by task type and state."""
    await harness.run("core.log.Log", message="x")
    labels = ("main", "company.team", "f", "io.kestra.plugin.core.log.Log")
    assert harness.metrics.counter("worker.started.count", *labels).value == 1
    assert harness.metrics.counter("worker.ended.count", *labels, "SUCCESS").value == 1
