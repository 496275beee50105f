"""Whatever the text of a flow is, reading it gives violations at places, and never a crash.

Bounded for the daily run; FLOWTIDE_FUZZ_EXAMPLES=10000 (`make fuzz`) looks longer.
"""

from __future__ import annotations

import os
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowtide.expressions import compile_template
from flowtide.model.records import encode
from flowtide.model.source import ParsedFlow, parse_flow
from flowtide.model.wire import flow_to_wire
from flowtide.services.plugins import discover_plugins

EXAMPLES = int(os.environ.get("FLOWTIDE_FUZZ_EXAMPLES", "120"))
REGISTRY = discover_plugins()
FLOWS = [
    *(plugin.example for _, _, plugin in REGISTRY if plugin.example),
    *(
        path.read_text(encoding="utf-8")
        for path in sorted((Path(__file__).parents[3] / "docs" / "examples").glob("*.yaml"))
    ),
]
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def check(template: str) -> None:
    """Compile a template, as a server does when a flow is saved."""
    compile_template(template)


def read(source: str) -> ParsedFlow:
    """Read a source as a server does; what comes out is consistent."""
    parsed = parse_flow(source, REGISTRY, check=check)
    assert (parsed.flow is None) == bool(parsed.violations)
    lines = source.count("\n") + source.count("\r") + source.count("\x85") + source.count("\u2028") + 2
    for violation in parsed.violations:
        assert violation.message
        assert 0 <= violation.line <= lines + source.count("\u2029")
    if parsed.flow is not None:
        encode(flow_to_wire(parsed.flow, source=source, revision=1))
        assert all(task.id for task in parsed.flow.all_tasks())
    return parsed


_WEIRD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(
        [10**30, -(10**400), 1e308, float("inf"), float("nan"), "", " ", "\x00", "\ud800", "{{", "{{ }}"]
    ),
    st.sampled_from(
        ["{{ a | b }}", "PT-1S", "P1Y", "0 0 30 2 *", "kestra:///x", "é\u202e😀", "a" * 300, "${x}", "!!x"]
    ),
    st.text(max_size=12),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=5), st.none(), max_size=2),
    st.sampled_from(
        [[[[[]]]], {"type": 1}, {"type": "io.kestra.plugin.core.log.Log"}, {"a": {"b": {"c": []}}}, [{}]]
    ),
)
_KEYS = st.one_of(
    st.sampled_from(
        [
            "id",
            "type",
            "tasks",
            "errors",
            "finally",
            "inputs",
            "retry",
            "runIf",
            "conditions",
            "taskRunner",
            "<<",
            "",
        ]
    ),
    st.sampled_from(
        ["pluginDefaults", "labels", "name", "dependsOn", "cases", "values", "onResume", "sla", "checks"]
    ),
    st.text(max_size=8),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything inside a value."""
    found = [path]
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        found += places(child, (*path, key))
    return found


def changed(draw: st.DrawFn, value: Any) -> Any:
    """A flow with one thing in it replaced, removed, added, doubled or renamed."""
    path = draw(st.sampled_from(places(value)))
    if not path:
        return value
    owner = value
    for step in path[:-1]:
        owner = owner[step]
    last = path[-1]
    match draw(st.integers(0, 4)):
        case 0:
            owner[last] = deepcopy(draw(_WEIRD))
        case 1:
            del owner[last]
        case 2 if isinstance(owner, dict):
            owner[draw(_KEYS)] = deepcopy(draw(_WEIRD))
        case 3 if isinstance(owner, list):
            owner.append(deepcopy(owner[last]))
        case _:
            if isinstance(owner, dict):
                owner[draw(_KEYS)] = owner.pop(last)
    return value


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """The source of a real flow after some changes."""
    value = yaml.safe_load(draw(st.sampled_from(FLOWS)))
    for _ in range(draw(st.integers(1, 4))):
        value = changed(draw, value)
    with suppress(yaml.YAMLError, UnicodeError):
        return yaml.safe_dump(value, allow_unicode=draw(st.booleans()), sort_keys=False)
    return ""


@bounded
@given(mutations())
def test_changed_flows(source: str) -> None:
    """A real flow with something weird in it is valid, or its violations are told."""
    read(source)


@st.composite
def torn(draw: st.DrawFn) -> str:
    """The text of a real flow, cut, doubled and sprinkled."""
    source = draw(st.sampled_from(FLOWS))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(source)))
        end = min(len(source), start + draw(st.integers(0, 40)))
        middle = draw(
            st.one_of(
                st.just(""),
                st.just(source[start:end] * 2),
                st.text(max_size=6),
                st.sampled_from(
                    [
                        "&a ",
                        "*a",
                        "<<: *a\n",
                        "- ",
                        ": ",
                        "\n",
                        "\t",
                        "!!int ",
                        "---\n",
                        "|\n",
                        "? ",
                        "{",
                        "]",
                        "'",
                        "%",
                    ]
                ),
            )
        )
        source = source[:start] + middle + source[end:]
    return source


@bounded
@given(torn())
def test_torn_texts(source: str) -> None:
    """Text that was a flow once is read, or refused with a place."""
    read(source)


@bounded
@given(st.text(max_size=200))
def test_any_text(source: str) -> None:
    """So is text that never was one."""
    read(source)


@settings(max_examples=min(EXAMPLES, 200), deadline=None)
@given(st.integers(1, 60), st.integers(0, 8), st.sampled_from(["tasks", "variables", "labels", "x"]))
def test_anchors_within_anchors(depth: int, width: int, key: str) -> None:
    """Aliases that multiply are refused before they cost time."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{each}: &a{each} [{', '.join([f'*a{each - 1}'] * width)}]" for each in range(1, depth)]
    parsed = read("\n".join([*lines, "id: a", "namespace: b", f"{key}: *a{depth - 1}"]))
    assert parsed.violations
