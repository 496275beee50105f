"""Encrypted values in a worker: tasks see the text, people see stars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from flowtide.model.commands import ReportEvaluation
from flowtide.model.encrypted import is_encrypted
from flowtide.model.jobs import Evaluate, FlowRef
from flowtide.model.records import encode
from flowtide.model.states import State
from flowtide.secrets import Encryption
from tests.unit.services.worker_harness import WorkerHarness

ENCRYPTION = Encryption(bytes(range(32)))
VARIABLES = {"inputs": {"db": {"password": ENCRYPTION.encrypt("hunter2", tenant_id="main", place="x")}}}


async def _evaluated(harness: WorkerHarness, protected: list[str], **expressions: Any) -> ReportEvaluation:
    job = Evaluate(
        tenant_id="main",
        execution_id="e1",
        run_id="r1",
        task_id="t",
        flow=FlowRef(namespace="company.team", id="f", revision=1),
        expressions=expressions,
        variables=msgspec.Raw(encode(VARIABLES)),
        at=harness.clock.now(),
        protected=protected,
    )
    await harness.send(job)
    await harness.until(lambda: harness.reports)
    (report,) = harness.reports
    assert isinstance(report, ReportEvaluation)
    return report


async def test_a_task_sees_the_text_and_its_lines_show_stars(tmp_path: Path) -> None:
    """V22 and R11, also for a task that is run inline otherwise."""
    async with WorkerHarness(tmp_path, cipher=ENCRYPTION) as harness:
        harness.start()
        template = "{{ inputs.db.password }} has {{ inputs.db.password | length }}"
        ended = await harness.run("core.log.Log", message=template, variables=VARIABLES)
        assert ended.state is State.SUCCESS
        await harness.until(lambda: harness.lines)
        assert harness.messages() == ["****** has 7"]
        ended = await harness.run("core.debug.Return", format="{{ inputs.db.password }}", variables=VARIABLES)
        assert ended.outputs == {"value": "hunter2"}


async def test_errors_show_stars(tmp_path: Path) -> None:
    """The reason of a failure is text that people see."""
    async with WorkerHarness(tmp_path, cipher=ENCRYPTION) as harness:
        harness.start()
        ended = await harness.run(
            "core.execution.Fail", errorMessage="no {{ inputs.db.password }}", variables=VARIABLES
        )
        assert ended.error == "no ******"


async def test_without_a_key_the_reason_names_the_setting(tmp_path: Path) -> None:
    """A worker that was not given the key of the others says so."""
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        ended = await harness.run("core.log.Log", message="{{ inputs.db.password }}", variables=VARIABLES)
        assert "set `flowtide.encryption.secret-key`" in (ended.error or "")


async def test_protected_values_are_encrypted_where_they_show_a_secret(tmp_path: Path) -> None:
    """Only the texts that show one; others stay as they are."""
    secrets = {"SECRET_TOKEN": "eHl6enk="}
    async with WorkerHarness(tmp_path, cipher=ENCRYPTION, secrets=secrets) as harness:
        harness.start()
        inputs = {"a": "is {{ inputs.db.password }}", "b": "plain", "c": ["{{ secret('TOKEN') }}"]}
        report = await _evaluated(harness, ["inputs"], inputs=inputs)
        found = report.values["inputs"]
        assert found["b"] == "plain"
        assert ENCRYPTION.decrypt(found["a"], tenant_id="main") == "is hunter2"
        assert is_encrypted(found["c"][0])


async def test_other_values_must_not_show_a_secret(tmp_path: Path) -> None:
    """They would be recorded as they are; the reason names the property."""
    async with WorkerHarness(tmp_path, cipher=ENCRYPTION) as harness:
        harness.start()
        report = await _evaluated(harness, [], labels={"x": "{{ inputs.db.password }}"})
        assert report.values == {}
        assert "property `labels` shows the value of a SECRET" in (report.error or "")
