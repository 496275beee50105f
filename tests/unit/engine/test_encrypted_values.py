"""SECRETs in decisions: recorded encrypted, repeatable, and rendered by workers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flowtide.expressions import Scope, render_value
from flowtide.model.encrypted import has_encrypted, is_encrypted
from flowtide.model.jobs import Evaluate, RunTask
from flowtide.model.records import encode
from flowtide.model.states import State
from flowtide.secrets import Encryption, Mask
from flowtide.services.worker.encrypted import open_encrypted, protected_values
from flowtide.testing.flows import FlowWorld, Outcome
from tests.language import REGISTRY

ENCRYPTION = Encryption(bytes(range(32)))
TEXT = "hunter2"
HEAD = "id: flow\nnamespace: test\ninputs: [{id: password, type: SECRET}]\n"


def _evaluate(job: Evaluate) -> dict[str, Any]:
    """What a worker answers."""
    variables = msgspec.json.decode(job.variables)
    mask = Mask()
    open_encrypted(variables, ENCRYPTION, tenant_id=job.tenant_id, masks=(mask,))
    values = {
        name: render_value(value, Scope(variables, now=lambda: job.at), typed=True)
        for name, value in job.expressions.items()
    }
    return protected_values(job, values, ENCRYPTION, given=mask, secrets=mask)


def _world(*sources: str, cipher: Encryption | None = ENCRYPTION) -> tuple[FlowWorld, list[RunTask]]:
    jobs: list[RunTask] = []

    def work(job: RunTask) -> Outcome:
        jobs.append(job)
        return Outcome()

    return FlowWorld(sources, REGISTRY, work=work, evaluate=_evaluate, cipher=cipher), jobs


def _recorded(world: FlowWorld) -> bytes:
    """Everything that was recorded, but the commands that came from outside."""
    return encode([*world.events.values(), world.lines])


@pytest.mark.parametrize(
    ("condition", "task"),
    [
        ("{{ inputs.password == 'hunter2' }}", "one"),
        ("{{ inputs.password == 'hunter3' }}", "two"),
        ("{{ inputs.password }}", "one"),
        ("{{ inputs['password'] ~ '' == 'hunter' ~ '2' }}", "one"),
    ],
)
def test_a_condition_on_a_secret_is_decided_by_a_worker(condition: str, task: str) -> None:
    """V22: the condition sees the text; no event holds it, also when it is the condition's whole value."""
    world, _ = _world(
        HEAD + f'tasks: [{{id: choice, type: If, condition: "{condition}",'
        " then: [{id: one, type: Say}], else: [{id: two, type: Say}]}]"
    )
    execution = world.start(inputs={"password": TEXT})
    world.run()
    assert world.runs(execution) == ["choice SUCCESS", f"{task} SUCCESS"]
    assert TEXT.encode() not in _recorded(world)


def test_only_what_names_a_secret_goes_to_a_worker() -> None:
    """Conditions on other values of the same execution are decided at once."""
    world, _ = _world(
        "id: flow\nnamespace: test\ninputs: [{id: password, type: SECRET}, {id: other, type: STRING}]\n"
        "tasks: [{id: choice, type: If, condition: \"{{ inputs.other == 'x' }}\", then: [{id: one, type: Say}]}]"
    )
    execution = world.start(inputs={"password": TEXT, "other": "x"})
    world.run()
    assert "EvaluationRequested" not in {type(event).__name__ for event in world.events[execution]}


def test_run_if_and_switch_see_the_text() -> None:
    """`runIf` and Switch decide by the text; what Switch keeps of it is encrypted."""
    world, _ = _world(
        HEAD
        + """
tasks:
  - {id: never, type: Say, runIf: "{{ inputs.password != 'hunter2' }}"}
  - {id: pick, type: Switch, value: "{{ inputs.password }}", cases: {hunter2: [{id: right, type: Say}]}}
"""
    )
    execution = world.start(inputs={"password": TEXT})
    world.run()
    assert world.runs(execution) == ["never SKIPPED", "pick SUCCESS", "right SUCCESS"]
    assert is_encrypted(world.executions[execution].outputs["pick"]["value"])


def test_deciding_again_records_the_same() -> None:
    """The encrypted form is a function of the command, so a decision made twice is one decision."""
    events = []
    for _ in range(2):
        world, _ = _world(HEAD + "tasks: [{id: one, type: Say}]")
        world.start(inputs={"password": TEXT})
        world.run()
        events.append(_recorded(world))
    assert events[0] == events[1]


def test_a_subflow_gets_and_gives_secrets_encrypted() -> None:
    """SECRET and STRING inputs of the child stay encrypted, as do outputs; jobs carry no clear text."""
    world, jobs = _world(
        HEAD
        + """
tasks:
  - id: call
    type: Subflow
    namespace: test
    flowId: child
    inputs: {a: "{{ inputs.password }}", b: "x{{ inputs.password }}"}
  - {id: after, type: Say, message: "{{ outputs.call.outputs.back }}"}
outputs: [{id: final, type: SECRET, value: "{{ outputs.call.outputs.back }}"}]
""",
        """
id: child
namespace: test
inputs: [{id: a, type: SECRET, validator: "h.*"}, {id: b, type: STRING, validator: "x.*"}]
tasks: [{id: say, type: Say, message: "{{ inputs.a }} {{ inputs.b }}"}]
outputs: [{id: back, type: SECRET, value: "{{ inputs.b }}"}]
""",
    )
    execution = world.start("flow", inputs={"password": TEXT})
    world.run()
    assert world.state(execution) is State.SUCCESS
    outputs = world.outputs(execution)
    assert outputs is not None
    assert ENCRYPTION.decrypt(outputs["final"], tenant_id="main") == f"x{TEXT}"
    assert all(has_encrypted(msgspec.json.decode(job.variables)) for job in jobs)
    assert TEXT.encode() not in _recorded(world) + encode([job.variables for job in jobs])


def test_a_secret_for_an_input_that_is_a_number_is_read() -> None:
    """Who declares a number says that it may be shown."""
    world, _ = _world(
        HEAD
        + 'tasks: [{id: call, type: Subflow, namespace: test, flowId: child, inputs: {n: "{{ inputs.password }}"}}]',
        "id: child\nnamespace: test\ninputs: [{id: n, type: INT}]\ntasks: [{id: say, type: Say}]",
    )
    world.start("flow", inputs={"password": "12345"})
    world.run()
    assert [execution.head.inputs for execution in world.executions.values()][1] == {"n": 12345}


@pytest.mark.parametrize("given", [TEXT, None])
def test_without_a_key_the_execution_fails_with_the_setting(given: str | None) -> None:
    """SECRET inputs, and outputs, fail with a sentence that names the setting (SECR-1)."""
    source = HEAD if given else "id: flow\nnamespace: test\n"
    output = "" if given else "outputs: [{id: x, type: SECRET, value: y}]\n"
    world, _ = _world(source + output + "tasks: [{id: one, type: Say}]", cipher=None)
    execution = world.start(inputs={"password": given} if given else {})
    world.run()
    assert world.state(execution) is State.FAILED
    assert "set `flowtide.encryption.secret-key`" in "".join(world.messages())
