"""Deprecated constructs are accepted with a warning that names the present form (catalogue G section 8)."""

from __future__ import annotations

import pytest

from flowtide.model.plugin import Registry
from flowtide.model.source import parse_flow
from flowtide.services.plugins import discover_plugins

HEAD = """\
id: old
namespace: company.team
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: x
"""
SCRIPT = "  - id: script\n    type: io.kestra.plugin.scripts.shell.Commands\n    commands: [ls]\n"


@pytest.fixture(scope="module")
def registry() -> Registry:
    """All installed plugins."""
    return discover_plugins()


@pytest.mark.parametrize(
    ("more", "path", "warning"),
    [
        pytest.param(
            "  - {id: t, type: io.kestra.plugin.core.flow.Template, namespace: a, templateId: b}",
            "tasks[1]",
            "Template is deprecated: use io.kestra.plugin.core.flow.Subflow",
            id="G01 templates",
        ),
        pytest.param(
            "listeners: [{tasks: [{id: l, type: io.kestra.plugin.core.log.Log, message: x}]}]",
            "listeners",
            "`listeners` are deprecated: use `afterExecution`",
            id="G03 listeners",
        ),
        pytest.param(
            "inputs: [{name: x, type: STRING}]", "inputs[0].name", "is now called `id`", id="G04 name"
        ),
        pytest.param(
            "triggers: [{id: s, type: io.kestra.plugin.core.trigger.Schedule, cron: '@daily', scheduleConditions: "
            "[{type: io.kestra.plugin.core.condition.Weekend}]}]",
            "triggers[0].scheduleConditions",
            "trigger `s`: `scheduleConditions` is deprecated: use `conditions`",
            id="G05 scheduleConditions",
        ),
        pytest.param(
            "  - {id: s, type: io.kestra.plugin.core.flow.Subflow, namespace: a, flowId: b, outputs: {x: y}}",
            None,
            "task `s`: `outputs` are deprecated: let the flow that is run declare them",
            id="G06 outputs of a Subflow",
        ),
        pytest.param(
            "taskDefaults: [{type: io.kestra.plugin.core.log.Log, values: {level: DEBUG}}]",
            "taskDefaults",
            "`taskDefaults` is now called `pluginDefaults`",
            id="G07 taskDefaults",
        ),
        pytest.param(
            SCRIPT + "    env: {A: '{{ outputDir }}/x'}",
            None,
            "tasks[1].env.A: `outputDir` is deprecated",
            id="G08 outputDir",
        ),
        pytest.param(
            "  - {id: l, type: io.kestra.plugin.core.storage.LocalFiles, inputs: {a: b}}",
            "tasks[1]",
            "task `l`: LocalFiles is deprecated: use `inputFiles` and `outputFiles`",
            id="G08 LocalFiles",
        ),
        pytest.param(
            SCRIPT + "    runner: PROCESS",
            "tasks[1].runner",
            "task `script`: `runner` is deprecated: use `taskRunner`",
            id="G09 runner",
        ),
        pytest.param(
            SCRIPT + "    runner: DOCKER\n    docker: {image: alpine, pullPolicy: ALWAYS, cpu: {cpus: 1}}",
            "tasks[1].docker",
            "task `script`: `docker` is deprecated: use `taskRunner`",
            id="G10 docker",
        ),
        pytest.param(
            "  - {id: s, type: io.kestra.plugin.core.state.Set, data: {a: 1}}",
            "tasks[1]",
            "task `s`: Set is deprecated: use io.kestra.plugin.core.kv.Set",
            id="G11 state",
        ),
        pytest.param(
            "inputs: [{id: x, type: BOOLEAN}]",
            "inputs[0].type",
            "the type BOOLEAN is deprecated, use BOOL",
            id="G13 BOOLEAN",
        ),
        pytest.param(
            "    retry: {type: constant, maxAttempt: 5, interval: PT15M}",
            "tasks[0].retry.maxAttempt",
            "task `say`: `maxAttempt` is now called `maxAttempts`",
            id="G14 maxAttempt",
        ),
        pytest.param(
            "  - {id: i, type: io.kestra.plugin.core.flow.If, condition: true, then: [{id: p, "
            "type: io.kestra.plugin.core.flow.Pause, delay: PT1S}]}",
            "tasks[1].then[0].delay",
            "task `p`: `delay` is now called `pauseDuration`",
            id="within flowable tasks",
        ),
        pytest.param(
            "  - {id: r, type: io.kestra.plugin.core.http.Request, uri: x, options: {basicAuthUser: me}}",
            "tasks[1].options.basicAuthUser",
            "task `r`: `basicAuthUser` is deprecated: use `auth.username`",
            id="within parts of a task",
        ),
        pytest.param(
            "  - {id: w, type: io.kestra.plugin.core.flow.Switch, value: a, cases: {a: [{id: e, "
            "type: io.kestra.plugin.core.flow.EachSequential, value: [1], tasks: [{id: z, "
            "type: io.kestra.plugin.core.log.Log, message: x}]}]}}",
            "tasks[1].cases.a[0]",
            "EachSequential is deprecated: use io.kestra.plugin.core.flow.ForEach",
            id="within the cases of a Switch",
        ),
        pytest.param(
            SCRIPT + "    warningOnStdErr: true",
            "tasks[1].warningOnStdErr",
            "task `script`: `warningOnStdErr` is deprecated, without effect",
            id="G15 warningOnStdErr",
        ),
    ],
)
def test_deprecated_forms_are_accepted_and_told(
    registry: Registry, more: str, path: str | None, warning: str
) -> None:
    """The flow is valid, a warning says what to write instead, and the place is known to editors."""
    parsed = parse_flow(HEAD + more, registry)
    assert parsed.violations == []
    assert any(warning in each for each in parsed.warnings), parsed.warnings
    assert path is None or path in parsed.deprecated


@pytest.mark.parametrize(
    ("more", "violation"),
    [
        pytest.param(
            "inputs: [{id: x, type: STRING, defaults: a, required: false}]",
            "has `defaults` and `required: false`",
            id="H06 defaults and required",
        ),
        pytest.param(
            "inputs: [{id: x, type: STRING, defaults: a, prefill: b, required: true}]",
            "has both `defaults` and `prefill`",
            id="H06 defaults and prefill",
        ),
        pytest.param(
            "  - {id: c, type: io.kestra.plugin.langchain4j.completion.ChatCompletion}",
            "there is no task of type `io.kestra.plugin.langchain4j.completion.ChatCompletion`",
            id="G16 no alias is promised",
        ),
    ],
)
def test_what_no_version_accepts_any_more(registry: Registry, more: str, violation: str) -> None:
    """What later versions reject is a violation (G section 11)."""
    parsed = parse_flow(HEAD + more, registry)
    assert [each for each in parsed.violations if violation in each.message]


def test_the_present_forms_have_no_warning(registry: Registry) -> None:
    """A flow that is written as of today is told nothing."""
    text = HEAD + SCRIPT + "    taskRunner: {type: io.kestra.plugin.core.runner.Process}\n"
    assert parse_flow(text, registry).warnings == []
