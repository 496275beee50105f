"""The deprecated Template: a saved template's tasks run in its place (FLW-17, G01)."""

from __future__ import annotations

import pytest

from flowtide.engine.plan import Plan, TemplateLookup
from flowtide.model.jobs import RunTask
from flowtide.model.source import parse_flow
from flowtide.model.states import State
from flowtide.testing.flows import FlowWorld, Outcome
from tests.language import REGISTRY, said

_FLOW = """
id: flow
namespace: test
tasks:
  - {id: use, type: Template, namespace: test, templateId: shared, args: {name: "{{ flow.id }}", number: 3}}
  - {id: last, type: Say, message: "{{ outputs.greet.value }}"}
"""
_TEMPLATE = """
id: shared
namespace: test
tasks:
  - {id: greet, type: Say, message: "{{ parent.outputs.args.name }} {{ parent.outputs.args.number }}"}
  - id: inner
    type: Sequential
    tasks: [{id: deep, type: Say, message: "{{ parents[0].outputs.args.name }}"}]
errors:
  - {id: sorry, type: Say}
"""


class _World(FlowWorld):
    """A world with templates."""

    templates: TemplateLookup | None = None

    def plan(self, namespace: str, flow_id: str, revision: int | None = None) -> Plan | None:
        plan = super().plan(namespace, flow_id, revision)
        assert plan is not None
        return Plan(plan.flow, tenant=self.tenant, revision=plan.revision, templates=self.templates)


def _run(*templates: str, flow: str = _FLOW, enabled: bool = True) -> tuple[_World, str]:
    found = {each.id: each for each in (parse_flow(source, REGISTRY).valid() for source in templates)}
    world = _World([flow], REGISTRY, work=lambda job: Outcome(outputs=said(job)))
    world.templates = (lambda namespace, template_id: found.get(template_id)) if enabled else None
    execution_id = world.start()
    world.run()
    return world, execution_id


def test_the_tasks_of_a_template_run_in_its_place() -> None:
    """G01: in sequence, with `args` among the outputs of their parent, visible to the flow as its own."""
    world, execution_id = _run(_TEMPLATE)
    assert world.state(execution_id) is State.SUCCESS, world.messages()
    assert world.runs(execution_id) == [
        "use SUCCESS",
        "greet SUCCESS",
        "inner SUCCESS",
        "deep SUCCESS",
        "last SUCCESS",
    ]
    outputs = world.executions[execution_id].outputs
    assert outputs["last"] == {"value": "flow 3"}
    assert outputs["deep"] == {"value": "flow"}


@pytest.mark.parametrize(
    ("templates", "enabled", "reason"),
    [
        ([], True, "there is no template test.shared"),
        ([_TEMPLATE], False, "`templates.enabled`"),
        ([_TEMPLATE.replace("greet", "last")], True, "has a task `last`, and so has the flow"),
        (
            [_TEMPLATE.replace("type: Sequential\n    tasks: [", "type: Template\n    namespace: test\n"
             "    templateId: shared\n    errors: [")],
            True,
            "and so has the flow",
        ),
    ],
)  # fmt: skip  # the replacement reads better so
def test_what_cannot_be_run_fails_with_a_reason(templates: list[str], enabled: bool, reason: str) -> None:
    """One that is not there, that is disabled, whose ids are taken, or that uses itself."""
    world, execution_id = _run(*templates, enabled=enabled)
    assert world.state(execution_id) is State.FAILED
    assert any(reason in line for line in world.messages()), world.messages()


def test_a_template_that_is_used_twice_fails_with_a_reason() -> None:
    """FLW-17: a task's id is what its outputs are found by, so that only one place in a flow can have it."""
    again = "  - {id: again, type: Template, namespace: test, templateId: shared}\n"
    flow = _FLOW.replace("  - {id: last", f"{again}  - {{id: last")
    world, execution_id = _run(_TEMPLATE, flow=flow)
    assert world.state(execution_id) is State.FAILED
    assert any("or a template before" in line for line in world.messages()), world.messages()


def test_a_task_that_a_changed_template_has_no_more_fails_visibly() -> None:
    """FLW-17: the execution does not wait for ever for a task that nobody knows; its handlers run."""
    template = parse_flow(_TEMPLATE, REGISTRY).valid()

    def work(job: RunTask) -> Outcome | None:
        return None if job.task_id == "deep" else Outcome(outputs=said(job))

    world = _World([_FLOW], REGISTRY, work=work)
    world.templates = lambda namespace, template_id: template
    execution_id = world.start()
    world.run()
    assert "deep RUNNING" in world.runs(execution_id)
    template = parse_flow(_TEMPLATE.replace("deep", "other").replace("inner", "around"), REGISTRY).valid()
    (running,) = [run_id for execution, run_id in world.running if execution == execution_id]
    world.report(execution_id, running, Outcome())
    world.run()
    assert world.state(execution_id) is State.FAILED
    assert world.runs(execution_id)[-1] == "sorry SUCCESS"
    assert any("has no task `deep` any more" in line for line in world.messages())
