"""Random flows and histories for property tests: nested constructs, conditions that fail, retries, faults."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import strategies as st

CONDITIONS = st.sampled_from(
    [
        "true",
        "false",
        "{{ 1 == 1 }}",
        "{{ outputs.none.value }}",
        "{{ kv('x') }}",
        "{{ taskrun.value == 'b' }}",
    ]
)
RUN_IF = st.sampled_from(
    [None, None, None, None, "true", "false", "{{ outputs.none.value }}", "{{ kv('x') }}"]
)
RETRIES = st.sampled_from(
    [
        None,
        None,
        {"type": "constant", "interval": "PT1M", "maxAttempts": 2},
        {"type": "constant", "interval": "PT0S", "maxAttempts": 3, "warningOnRetry": True},
        {"type": "exponential", "interval": "PT1S", "maxInterval": "PT1M", "maxDuration": "PT30S"},
        {"type": "random", "minInterval": "PT1S", "maxInterval": "PT9S", "maxAttempts": 2},
    ]
)
VALUES = st.sampled_from(
    [[], ["a"], ["a", "b"], ["a", "b", "a", 1, {"k": 2}], "{{ kv('list') }}", "no list", '["a", "b"]']
)


@st.composite
def tasks(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    """One task, with its children; ids are given later."""
    kinds = ["Say"] * 3
    if depth > 0:
        kinds += ["Sequential", "Parallel", "If", "Switch", "ForEach", "Pause", "Subflow"]
        kinds += ["Dag", "LoopUntil", "AllowFailure", "EachParallel", "ForEachItem", "WorkingDirectory"]
    kind = draw(st.sampled_from(kinds))
    common = (
        ("runIf", draw(RUN_IF)),
        ("retry", draw(RETRIES)),
        ("allowFailure", draw(st.sampled_from([None, None, True]))),
        ("allowWarning", draw(st.sampled_from([None, None, True]))),
        ("disabled", draw(st.sampled_from([None, None, None, None, True]))),
    )
    task: dict[str, Any] = {"type": kind, **{name: value for name, value in common if value is not None}}

    def some(least: int = 1, most: int = 3) -> list[dict[str, Any]]:
        return draw(st.lists(tasks(depth - 1), min_size=least, max_size=most))

    match kind:
        case "Sequential" | "WorkingDirectory":
            task["tasks"] = some()
        case "Parallel":
            task |= {"tasks": some(), "concurrent": draw(st.integers(0, 2))}
        case "If":
            task |= {"condition": draw(CONDITIONS), "then": some(), "else": some(0, 1)}
        case "Switch":
            value = draw(st.sampled_from(["one", "{{ kv('x') }}", "{{ outputs.none }}", "other"]))
            task |= {"value": value, "cases": {"one": some(0, 2)}, "defaults": some(0, 1)}
        case "ForEach":
            task |= {"values": draw(VALUES), "tasks": some(), "concurrencyLimit": draw(st.integers(0, 3))}
        case "Dag":
            nodes = some()
            task |= {
                "tasks": [
                    {
                        "task": node,
                        "dependsOn": sorted(draw(st.sets(st.integers(0, index - 1))) if index else ()),
                    }
                    for index, node in enumerate(nodes)
                ],
                "concurrent": draw(st.integers(0, 2)),
            }
        case "LoopUntil":
            task |= {
                "condition": draw(CONDITIONS),
                "tasks": some(),
                "failOnMaxReached": draw(st.booleans()),
                "checkFrequency": {
                    "interval": draw(st.sampled_from(["PT0S", "PT30S", "{{ flow.id }}"])),
                    "maxIterations": draw(st.sampled_from([1, 2, 3, "{{ kv('most') }}"])),
                    "maxDuration": draw(st.sampled_from([None, "PT1M", "{{ kv('long') }}"])),
                },
            }
        case "AllowFailure":
            task["tasks"] = some()
        case "EachParallel":
            task |= {"value": draw(VALUES), "tasks": some(), "concurrent": draw(st.integers(0, 3))}
        case "ForEachItem":
            task |= {
                "items": "kestra:///f",
                "namespace": "test",
                "flowId": draw(st.sampled_from(["child", "child", "missing"])),
                "wait": draw(st.booleans()),
                "transmitFailed": draw(st.booleans()),
                "inputs": draw(st.sampled_from([{}, {"x": "{{ kv('x') }}"}, {"x": "{{ taskrun.items }}"}])),
            }
        case "Pause":
            if draw(st.booleans()):
                task["onPause"] = draw(tasks(0))
            if draw(st.integers(0, 3)) == 0:
                task["tasks"] = some()
            if draw(st.booleans()):
                task |= {
                    "pauseDuration": draw(st.sampled_from(["PT1M", "{{ kv('long') }}", "{{ flow.id }}"])),
                    "behavior": draw(st.sampled_from(["RESUME", "WARN", "FAIL", "CANCEL"])),
                }
        case "Subflow":
            task |= {
                "namespace": "test",
                "flowId": draw(st.sampled_from(["child", "child", "missing"])),
                "wait": draw(st.booleans()),
                "transmitFailed": draw(st.booleans()),
            }
    if kind not in ("Say", "Subflow", "Pause") and draw(st.integers(0, 3)) == 0:
        task["errors"] = some(1, 2)
    if kind not in ("Say", "Subflow", "Pause") and draw(st.integers(0, 3)) == 0:
        task["finally"] = some(1, 2)
    return task


@st.composite
def flows(draw: st.DrawFn) -> str:
    """A valid flow as YAML; a flow of id `child` is expected beside it."""
    flow: dict[str, Any] = {"id": "flow", "namespace": "test"}
    flow["tasks"] = draw(st.lists(tasks(2), min_size=1, max_size=3))
    for name in ("errors", "finally", "afterExecution"):
        if draw(st.integers(0, 3)) == 0:
            flow[name] = draw(st.lists(tasks(1), min_size=1, max_size=2))
    if draw(st.integers(0, 4)) == 0:
        value = draw(st.sampled_from(["fine", "{{ kv('x') }}", "{{ outputs.none.value }}"]))
        flow["outputs"] = [{"id": "final", "type": "STRING", "value": value}]
    if draw(st.integers(0, 4)) == 0:
        flow["concurrency"] = {"limit": 1}
    number = iter(range(10_000))

    def name_all(found: Any, inside: bool = False) -> None:
        if isinstance(found, list):
            for each in found:
                name_all(each, inside)
        elif isinstance(found, dict):
            if found.get("type") == "WorkingDirectory":
                if inside:  # it has no place in another one
                    found["type"] = "Sequential"
                inside = True
            if found.get("type") in _TASKS:
                found["id"] = f"t{next(number)}"
            for each in list(found.values()):
                name_all(each, inside)
            if found.get("type") == "Dag":
                for node in found["tasks"]:
                    node["dependsOn"] = [found["tasks"][place]["task"]["id"] for place in node["dependsOn"]]

    name_all(flow)
    return yaml.safe_dump(flow, sort_keys=False)


_TASKS = frozenset(
    {
        "Say", "Sequential", "Parallel", "If", "Switch", "ForEach", "Pause", "Subflow", "Dag", "LoopUntil",
        "AllowFailure", "EachParallel", "ForEachItem", "WorkingDirectory",
    }
)  # fmt: skip  # reads better as a paragraph

ENDS = st.lists(
    st.sampled_from(
        ["SUCCESS", "SUCCESS", "SUCCESS", "FAILED", "WARNING", "SKIPPED", "KILLED", "stay", "stay"]
    ),
    min_size=1,
    max_size=12,
)
"""How attempts end, in the order in which workers take them; repeated from the start."""

ANSWERS = st.lists(st.sampled_from(["value", "false", "bad", "stay"]), min_size=1, max_size=6)
"""How expressions with input or output are answered."""

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.integers(1, 8)),
        st.tuples(st.just("advance"), st.sampled_from([1, 30, 60, 3600])),
        st.tuples(st.just("report"), st.sampled_from(["SUCCESS", "FAILED", "KILLED"])),
        st.tuples(st.just("kill"), st.booleans()),
        st.tuples(st.just("pause"), st.none()),
        st.tuples(st.just("resume"), st.sampled_from([None, "SUCCESS", "FAILED", "RUNNING"])),
        st.tuples(st.just("again"), st.integers(0, 60)),
        st.tuples(st.just("lose"), st.booleans()),
        st.tuples(st.just("slot"), st.sampled_from(["RUNNING", "QUEUED", "CANCELLED", "FAILED"])),
        st.tuples(st.just("evaluated"), st.just("late")),
        st.tuples(st.just("shuffle"), st.integers(0, 5)),
    ),
    max_size=25,
)
"""What happens to an execution besides its own course."""
