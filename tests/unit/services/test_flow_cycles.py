"""Flows that run one another in a circle are found before they are saved."""

from __future__ import annotations

import pytest

from flowtide.model.flow import Flow
from flowtide.model.source import parse_flow
from flowtide.services.flow_cycles import way_back
from flowtide.services.plugins import discover_plugins

REGISTRY = discover_plugins()


def flow(name: str, *called: str) -> Flow:
    tasks = [
        f"{{id: call-{number}, type: io.kestra.plugin.core.flow.Subflow, namespace: team, flowId: '{each}'}}"
        for number, each in enumerate(called)
    ]
    inside = ", ".join([*tasks, "{id: own, type: io.kestra.plugin.core.debug.Return}"])
    tasks_line = f"tasks: [{{id: all, type: io.kestra.plugin.core.flow.Sequential, tasks: [{inside}]}}]"
    return parse_flow(f"id: {name}\nnamespace: team\n{tasks_line}\n", REGISTRY).valid()


@pytest.mark.parametrize(
    ("saved", "way"),
    [
        ({"b": ["a"]}, ["a", "b", "a"]),
        ({"b": ["c"], "c": ["d", "a"], "d": []}, ["a", "b", "c", "a"]),
        ({"b": ["c"], "c": ["b"]}, []),
        ({"b": ["{{ inputs.flow }}"]}, []),
        ({}, []),
    ],
)
def test_the_way_back_is_told(saved: dict[str, list[str]], way: list[str]) -> None:
    """FLW-19: over one flow or several, within other tasks; not a cycle elsewhere, nor one through a template."""
    flows = {("team", name): flow(name, *called) for name, called in saved.items()}
    assert [name for _, name in way_back(flow("a", "b"), flows.get)] == way
