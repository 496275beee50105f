"""Options of servers that pass executions over, and the switches that are made of them."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest

from flowtide.cli.recovery_switches import recovery_switches
from flowtide.model.instance import SwitchType


def test_each_option_becomes_a_switch_that_ignores() -> None:
    """Executions together, flows, namespaces and tenants one by one; commas part them (CLI-7, UPG-4)."""
    switches = recovery_switches(
        {
            "skip_executions": ("a,b", "c"),
            "skip_flows": ("prod|company.team|hello",),
            "skip_namespaces": ("prod|company", "sales"),
            "skip_tenants": ("old",),
        }
    )

    assert {each.evaluation_type for each in switches.values()} == {SwitchType.IGNORE}
    assert all(each.is_on(datetime(2000, 1, 1, tzinfo=UTC)) for each in switches.values())
    assert switches["--skip-executions"].execution_ids == ("a", "b", "c")
    assert switches["--skip-flows prod|company.team|hello"].is_about("prod", "company.team", "hello", "x")
    assert not switches["--skip-flows prod|company.team|hello"].is_about("dev", "company.team", "hello", "x")
    assert switches["--skip-namespaces sales"].is_about("any", "sales", "flow", "x")
    assert not switches["--skip-namespaces prod|company"].is_about("any", "company", "flow", "x")
    assert switches["--skip-tenants old"].is_about("old", "n", "f", "x")


def test_without_options_there_are_no_switches() -> None:
    """A server without them passes nothing over."""
    assert recovery_switches({"skip_executions": (), "port": 8080}) == {}


@pytest.mark.parametrize("text", ["hello", "a|b|c|d", "main||hello"])
def test_a_flow_is_named_in_full(text: str) -> None:
    """What is not written as TENANT|NAMESPACE|FLOW is refused with the form."""
    with pytest.raises(click.BadParameter, match=r"TENANT\|NAMESPACE\|FLOW"):
        recovery_switches({"skip_flows": (text,)})
