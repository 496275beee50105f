"""Plugin defaults that meet a plugin of another type."""

from __future__ import annotations

from flowtide.model.defaults import merge


def test_a_plugin_of_another_type_is_replaced_whole() -> None:
    """K05: a default runner's properties do not leak into the runner that a task chose; those of its own type do."""
    docker = {"type": "Docker", "cpu": {"cpus": 1}, "pullPolicy": "NEVER"}
    assert merge({"taskRunner": docker}, {"taskRunner": {"type": "Process"}}) == {
        "taskRunner": {"type": "Process"}
    }
    assert merge({"taskRunner": docker}, {"taskRunner": {"type": "Docker", "pullPolicy": "ALWAYS"}}) == {
        "taskRunner": {**docker, "pullPolicy": "ALWAYS"}
    }
    assert merge({"taskRunner": docker}, {"taskRunner": {"memory": {"memory": "1GB"}}}) == {
        "taskRunner": {**docker, "memory": {"memory": "1GB"}}
    }
