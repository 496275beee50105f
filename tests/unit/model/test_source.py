"""Parsing a flow: every violation at its path and line, plugin defaults, warnings, and limits."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as some

from flowtide.errors import ExpressionSyntaxError, FlowInvalid
from flowtide.model.flow import PluginDefault
from flowtide.model.flowables import If, Sequential
from flowtide.model.source import ParsedFlow, parse_flow
from tests.language import REGISTRY as LANGUAGE
from tests.unit.model.plugins import REGISTRY, LocalRunner, Say

HEAD = "id: flow\nnamespace: company.team\n"
INPUT_TYPES = (
    "STRING", "INT", "FLOAT", "SELECT", "ENUM", "MULTISELECT", "BOOLEAN", "BOOL", "DATETIME", "DATE", "TIME",
    "DURATION", "FILE", "JSON", "YAML", "URI", "SECRET", "ARRAY", "EMAIL",
)  # fmt: skip  # reads better as a paragraph
NO_DURATION = "'P1W' is not an ISO-8601 duration of days, hours, minutes and seconds, e.g. PT1M30S"
TASKS = "tasks:\n  - id: say\n    type: test.Say\n    message: hello\n"


def parse(text: str, *defaults: PluginDefault) -> ParsedFlow:
    """Parse an indented text."""
    return parse_flow(textwrap.dedent(text), REGISTRY, plugin_defaults=defaults)


def complaints(text: str) -> list[str]:
    """What is wrong, as people read it."""
    parsed = parse(text)
    assert (parsed.flow is None) == bool(parsed.violations)
    return [str(violation) for violation in parsed.violations]


def say(flow: ParsedFlow, name: str = "say") -> Say:
    """The task of a name."""
    task = flow.valid().tasks_by_id[name]
    assert isinstance(task, Say)
    return task


def test_a_flow_with_every_root_property_parses() -> None:
    """All root properties of catalogue B §1 are read."""
    flow = parse(
        """
        id: everything
        namespace: company.team
        revision: 3
        description: A **text**.
        labels: {team: data, cost: 12, checked: true}
        inputs:
          - {id: name, type: STRING, defaults: you}
        outputs:
          - {id: greeting, type: STRING, value: "{{ outputs.say.value }}"}
        variables: {deep: {yes: no, when: 2024-01-01}}
        tasks:
          - id: first
            type: flow.Sequential
            tasks:
              - id: choose
                type: flow.If
                condition: "{{ inputs.name }}"
                then: [{id: say, type: test.Say, message: 42}]
                else: [{id: other, type: test.Say, message: [a, b]}]
            errors: [{id: broken, type: test.Say, message: b}]
            finally: [{id: tidy, type: test.Say, message: t}]
        errors: [{id: failed, type: test.Say, message: f}]
        finally: [{id: last, type: test.Say, message: l}]
        afterExecution: [{id: after, type: test.Say, message: a}]
        triggers:
          - id: daily
            type: trigger.Schedule
            cron: "@daily"
            conditions:
              - type: condition.Not
                conditions: [{type: condition.Weekend}]
            stopAfter: [FAILED]
          - {id: hook, type: trigger.Webhook, key: abc}
        pluginDefaults:
          - {type: test.Say, values: {level: WARN}}
        concurrency: {limit: 2}
        sla:
          - {id: long, type: MAX_DURATION, duration: PT8H, behavior: CANCEL, labels: {sla: miss}}
          - {id: true, type: EXECUTION_ASSERTION, assert: "{{ true }}", behavior: NONE}
        checks:
          - {condition: "{{ inputs.name != 'x' }}", message: not x}
        retry: {type: constant, interval: PT1M, maxAttempts: 3, behavior: CREATE_NEW_EXECUTION}
        disabled: false
        workerGroup: {key: gpu}
        """.replace("{id: true,", "{id: holds,")
    ).valid()
    assert [task.id for task in flow.all_tasks()] == [
        "first", "choose", "say", "other", "broken", "tidy", "failed", "last", "after",
    ]  # fmt: skip  # one line reads better
    assert [(label.key, label.value) for label in flow.labels] == [
        ("team", "data"),
        ("cost", "12"),
        ("checked", "true"),
    ]
    assert flow.variables == {"deep": {"yes": "no", "when": "2024-01-01"}}
    assert isinstance(flow.tasks[0], Sequential)
    assert isinstance(flow.tasks_by_id["choose"], If)
    assert flow.concurrency is not None
    assert flow.concurrency.behavior == "QUEUE"


def test_every_violation_has_its_path_and_line() -> None:
    """All that is wrong is told at once, in the order of the document."""
    found = complaints(
        """\
        id: pause
        namespace: company.team
        inputs:
          - id: a
            type: TEXT
          - id: c
            type: INT
            min: x
        tasks:
          - id: one
            type: Nope
          - id: two
            type: flow.Sequential
            tasks:
              - id: choose
                type: flow.If
                condition: true
                then:
                  - id: one
                    type: test.Say
                    messag: x
                    runIf: []
                    timeout: P1W
                    retry: {type: constant}
        unknown: 1
        """
    )
    assert found == [
        "line 1, id: `pause` is reserved for the API: choose another id",
        "line 5, inputs[0].type: there is no type `TEXT` here; there are " + ", ".join(INPUT_TYPES),
        "line 8, inputs[1].min: must be an integer",
        "line 11, tasks[0].type: there is no task of type `Nope`",
        "line 19, tasks[1].tasks[0].then[0].message: is required",
        "line 19, tasks[1].tasks[0].then[0].id: the task id `one` is used twice, first in line 10",
        "line 21, tasks[1].tasks[0].then[0].messag: there is no such property; did you mean `message`?",
        "line 22, tasks[1].tasks[0].then[0].runIf: must be a text or true or false",
        f"line 23, tasks[1].tasks[0].then[0].timeout: {NO_DURATION}",
        "line 24, tasks[1].tasks[0].then[0].retry.interval: is required",
        "line 25, unknown: there is no such property",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            HEAD
            + TASKS
            + "  - {id: 1, type: test.Say, message: x}\n  - {id: '1', type: test.Say, message: x}",
            "line 8,",
        ),
        ("", "line 1: a flow must be a mapping with `id`, `namespace` and `tasks`"),
        ("- a", "line 1: a flow must be a mapping with `id`, `namespace` and `tasks`"),
        (HEAD + TASKS + "namespace: x", "line 7: the key `namespace` comes twice"),
        (HEAD + "tasks: []", "line 3, tasks: must have at least 1 entry"),
        (HEAD + "tasks: x", "line 3, tasks: must be a list"),
        (HEAD + "tasks: [1]", "line 3, tasks[0]: must be a mapping with a `type`"),
        (HEAD + "tasks: [{id: a}]", "line 3, tasks[0]: needs a `type`, the full name of a task"),
        (
            HEAD + "tasks:\n  - {id: a b, type: test.Say, message: x}",
            "line 4, tasks[0].id: must match the pattern",
        ),
        (HEAD + TASKS + "retry: {type: linear}", "line 7, retry.type: there is no type `linear` here"),
        (
            HEAD + TASKS + "concurrency: {limit: 0}",
            "line 7, concurrency.limit: must be greater than or equal to 1",
        ),
        (HEAD + TASKS + "labels: [a]", "line 7, labels: each label must be a mapping with `key` and `value`"),
        (
            HEAD + TASKS + "triggers: [{id: t, type: trigger.Schedule, cron: '* *'}]",
            "line 7, triggers[0]: cron '* *'",
        ),
        (
            HEAD + TASKS + "triggers: [{id: t, type: test.Say}]",
            "line 7, triggers[0].type: there is no trigger of type",
        ),
        (
            HEAD + TASKS + "inputs: [{id: a, type: INT}, {id: a, type: INT}]",
            "line 7, inputs[1].id: the input id `a` is used twice, first in line 7",
        ),
        (
            HEAD + TASKS + "inputs: [{id: a, type: INT, dependsOn: {inputs: [b]}}]",
            "line 7, inputs[0].dependsOn.inputs[0]: there is no input `b`",
        ),
        (
            HEAD + TASKS + "inputs: [{id: a, type: INT, dependsOn: {inputs: [a]}}]",
            "line 7, inputs: inputs depend on each other in a circle: a -> a",
        ),
        (
            HEAD + "tasks: [{id: s, type: flow.Subflow, namespace: company.team, flowId: flow}]",
            "line 3, tasks[0].flowId: a flow must not run itself as a subflow",
        ),
    ],
)
def test_single_mistakes(text: str, expected: str) -> None:
    """Each mistake alone gives one violation, which names the place."""
    found = complaints(text)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_empty_properties_are_as_good_as_absent() -> None:
    """`triggers:` without a value is no violation, also within tasks."""
    assert complaints(HEAD + "triggers:\ninputs:\n" + TASKS + "    timeout:\n") == []


def test_ids_that_look_like_tasks_elsewhere_are_not_counted() -> None:
    """Data of a task, and inputs of a pause, may repeat ids of tasks."""
    text = (
        HEAD + TASKS + "    options: {id: say, type: test.Say}\n  - {id: p, type: flow.Pause, "
        "onResume: [{id: say, type: STRING}]}\n"
    )
    assert complaints(text) == []


def test_keys_that_come_twice_do_not_hide_the_rest() -> None:
    """The other violations of the document are told beside them."""
    assert complaints(HEAD + "id: other\ntasks: [{id: a, type: test.Sey}]") == [
        "line 3: the key `id` comes twice",
        "line 4, tasks[0].type: there is no task of type `test.Sey`; did you mean `test.Say`?",
    ]


def test_types_of_another_kind_are_told() -> None:
    """A trigger among the tasks is named as what it is."""
    (told,) = complaints(HEAD + "tasks: [{id: a, type: trigger.Schedule}]")
    assert told.endswith(
        "there is no task of type `trigger.Schedule`: it is a trigger, and does not belong here"
    )


@pytest.mark.parametrize(
    "labels", ["{system.readOnly: true, a: b}", "[{key: system.correlationId, value: x}]"]
)
def test_flows_may_have_two_system_labels(labels: str) -> None:
    """`system.readOnly` and `system.correlationId` are for people, too (LAB-08, LAB-10)."""
    assert complaints(HEAD + TASKS + f"labels: {labels}") == []


@pytest.mark.parametrize(
    ("labels", "path"),
    [
        ("{a: b, system.username: x}", "labels.system.username"),
        ("[{key: system.from, value: x}]", "labels[0].key"),
    ],
)
def test_other_system_labels_are_refused(labels: str, path: str) -> None:
    """Labels of the system are set by the system only (LAB-10)."""
    (told,) = complaints(HEAD + TASKS + f"labels: {labels}")
    assert told.startswith(f"line 7, {path}: the label `system.")


def test_inputs_are_compared_also_when_the_rest_is_wrong() -> None:
    """An input that depends on none is told beside a task without a type."""
    told = complaints(HEAD + "inputs: [{id: a, type: INT, dependsOn: {inputs: [b]}}]\ntasks: [{id: x}]")
    assert [each.partition(", ")[2].partition(":")[0] for each in told] == [
        "inputs[0].dependsOn.inputs[0]",
        "tasks[0]",
    ]


def test_invalid_flows_raise_on_demand() -> None:
    """`valid()` raises FlowInvalid with all violations, one a line."""
    with pytest.raises(FlowInvalid) as caught:
        parse("id: flow\ntasks: []").valid()
    assert str(caught.value) == "line 1, namespace: is required\nline 2, tasks: must have at least 1 entry"


def test_former_names_are_accepted_with_a_warning() -> None:
    """Old types, `taskDefaults`, `listeners`, `name` and BOOLEAN work and are told of (RUN-36, FLW-02)."""
    parsed = parse(
        """
        id: old
        namespace: company.team
        taskDefaults: [{type: test.Say, values: {level: WARN}}]
        listeners: [{tasks: [{id: told, type: test.Say, message: over}]}]
        inputs: [{name: x, type: BOOLEAN}]
        tasks: [{id: say, type: old.Say, message: hi}]
        """
    )
    assert parsed.warnings == [
        (
            "`listeners` are deprecated: use `afterExecution`, or a flow with a Flow trigger. They run only "
            "where the setting `listeners.enabled` is true"
        ),
        "inputs[0].name is now called `id`",
        "inputs[0]: the type BOOLEAN is deprecated, use BOOL",
        "`taskDefaults` is now called `pluginDefaults`",
        "the type `old.Say` is now called `test.Say`",
    ]
    assert parsed.relocated == [("old.Say", "test.Say")]
    assert parsed.deprecated == [
        "listeners",
        "inputs[0].name",
        "inputs[0].type",
        "taskDefaults",
        "tasks[0].type",
    ]
    assert say(parsed).level == "WARN"


def test_plugin_defaults_fill_what_a_task_leaves_out() -> None:
    """A default supplies also required properties; the task's own value wins; maps are merged (PLD-01, PLD-02)."""
    parsed = parse(
        """
        id: flow
        namespace: company.team
        pluginDefaults:
          - {type: test.Say, values: {message: hello, level: WARN, options: {a: {x: 1, y: 1}}}}
          - {type: test.LocalRunner, values: {image: slim}}
        tasks:
          - {id: say, type: test.Say, level: DEBUG, options: {a: {y: 2}}, taskRunner: {type: test.LocalRunner}}
        """
    )
    task = say(parsed)
    assert (task.message, task.level, task.options) == ("hello", "DEBUG", {"a": {"x": 1, "y": 2}})
    assert isinstance(task.task_runner, LocalRunner)
    assert task.task_runner.image == "slim"
    assert parsed.document["tasks"][0].keys() == {"id", "type", "level", "options", "taskRunner"}
    assert parsed.warnings == [  # FLW-18
        "task `say`: `message` is missing here, and comes from the plugin defaults",
        "runner `test.LocalRunner`: `image` is missing here, and comes from the plugin defaults",
    ]


def test_plugin_defaults_of_a_prefix_speak_to_many() -> None:
    """A prefix ends at a dot, and leaves out properties that a type does not have (PLD-01)."""
    defaults = [
        PluginDefault(type="test", values={"level": "WARN", "image": "slim", "timeout": "PT1M"}),
        PluginDefault(type="test.S", values={"level": "ERROR"}),
    ]
    text = HEAD + TASKS + "    taskRunner: {type: test.LocalRunner}\n"
    task = say(parse_flow(text, REGISTRY, plugin_defaults=defaults))
    assert task.level == "WARN"
    assert isinstance(task.task_runner, LocalRunner)


@pytest.mark.parametrize(
    ("flow_forced", "instance_forced", "own", "level"),
    [
        (False, False, None, "FLOW"),
        (False, False, "OWN", "OWN"),
        (True, False, "OWN", "FLOW"),
        (False, True, "OWN", "INSTANCE"),
        (True, True, "OWN", "INSTANCE"),
    ],
)
def test_which_default_wins(flow_forced: bool, instance_forced: bool, own: str | None, level: str) -> None:
    """Forced ones of the instance, forced ones of the flow, the task, the flow, the instance (PLD-02, PLD-04)."""
    text = (
        HEAD
        + f"pluginDefaults: [{{type: test.Say, values: {{level: FLOW}}, forced: {str(flow_forced).lower()}}}]\n"
    )
    text += TASKS + (f"    level: {own}\n" if own else "")
    instance = PluginDefault(type="test.Say", values={"level": "INSTANCE"}, forced=instance_forced)
    assert say(parse(text, instance)).level == level


def test_a_default_of_the_exact_type_is_checked() -> None:
    """A property that the type does not have is a violation, as if the task had it."""
    text = HEAD + "pluginDefaults: [{type: test.Say, values: {colour: red}}]\n" + TASKS
    expected = "line 5, tasks[0].colour: there is no such property; it comes from the plugin defaults"
    assert complaints(text) == [expected]


def check(template: str) -> None:
    """A check that dislikes the word `wrong`."""
    for number, line in enumerate(template.splitlines(), 1):
        if "wrong" in line:
            place = f"line {number}, column {line.index('wrong') + 1}"
            raise ExpressionSyntaxError(
                f"this is wrong at {place}\n  {line}\n  ^", line=number, column=line.index("wrong") + 1
            )


@pytest.mark.parametrize(
    ("message", "line", "column"),
    [
        ('    message: "{{ wrong }}"\n', 6, 18),
        ("    message: {{ wrong }}\n".replace("{{", "a {{"), 6, 19),
        ("    message: |\n      fine\n      {{ wrong }}\n", 8, 1),
        ('    message: x\n    options: {deep: ["{{ wrong }}"]}\n', 7, 26),
    ],
)
def test_templates_are_checked_where_they_stand(message: str, line: int, column: int) -> None:
    """A template that does not compile is a violation with its line, in a block its own line."""
    text = HEAD + "tasks:\n  - id: say\n    type: test.Say\n" + message
    (violation,) = parse_flow(text, REGISTRY, check=check).violations
    assert (violation.message, violation.line, violation.column) == ("this is wrong", line, column)


def test_descriptions_are_not_templates() -> None:
    """A description may show what would be a wrong template."""
    text = HEAD + 'description: "{{ wrong }}"\n' + TASKS
    assert parse_flow(text, REGISTRY, check=check).violations == []


def test_a_flow_of_5_mb_is_refused_without_reading_all_of_it() -> None:
    """Thousands of violations are cut short, and too many values refused at once."""
    many = HEAD + "tasks:\n" + "".join(f"  - id: t{i}\n    type: No\n" for i in range(500))
    assert complaints(many)[-1] == "and 400 more violations"
    huge = (
        HEAD
        + "tasks:\n"
        + "".join(f"  - id: t{i}\n    type: test.Say\n    message: x\n" for i in range(100_000))
    )
    assert complaints(huge) == ["the document has more than 50000 keys and values"]


@given(some.text(alphabet=some.sampled_from(" \n:-[]{}'\"&*!|>%@#?<,a1tasksid\t\\")))
def test_any_text_gives_a_flow_or_violations(text: str) -> None:
    """No text makes the parser raise."""
    parsed = parse_flow(text, REGISTRY)
    assert (parsed.flow is None) == bool(parsed.violations)


def test_no_property_is_offered_in_its_own_place() -> None:
    """A task that stands in a Dag without `task:` is told what is missing, and not to write `id` for `id`."""
    text = "id: f\nnamespace: test\ntasks:\n- {id: d, type: Dag, tasks: [{id: a, type: Say, message: m}]}\n"
    violations = parse_flow(text, LANGUAGE).violations
    texts = [str(each) for each in violations]
    assert any("tasks[0].tasks[0].task: is required" in text for text in texts), texts
    assert not any("did you mean `id`" in text for text in texts), texts


def test_a_number_or_an_expression_is_asked_for_in_words() -> None:
    """`rows: -1` of a batch is told without the pattern by which an expression is known."""
    found = parse_flow(
        HEAD
        + "tasks:\n  - {id: a, type: ForEachItem, items: x, batch: {rows: -1},"
        + " namespace: a, flowId: b}",
        LANGUAGE,
    )
    assert [violation.message for violation in found.violations] == [
        "must be greater than or equal to 1 or an expression"
    ]
