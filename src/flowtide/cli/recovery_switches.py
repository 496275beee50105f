"""Executions that a server is told to pass over (CLI-7, UPG-4): options in, kill switches of its process alone out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from flowtide.model.instance import KillSwitch, SwitchType

_ALWAYS = datetime.fromtimestamp(0, UTC)


def recovery_switches(given: Mapping[str, Any]) -> dict[str, KillSwitch]:
    """The switches by the option that each one comes from; none without such options.

    Raises click.BadParameter for a flow or namespace that is not written as TENANT|NAMESPACE|FLOW.
    """
    switches: dict[str, KillSwitch] = {}
    executions = _parts(given.get("skip_executions"))
    if executions:
        switches["--skip-executions"] = _switch(execution_ids=tuple(executions))
    for text in _parts(given.get("skip_flows")):
        tenant, namespace, flow_id = _split(text, "--skip-flows", "TENANT|NAMESPACE|FLOW", 3)
        switches[f"--skip-flows {text}"] = _switch(tenant_id=tenant, namespace=namespace, flow_id=flow_id)
    for text in _parts(given.get("skip_namespaces")):
        tenant, namespace = _split(text, "--skip-namespaces", "TENANT|NAMESPACE", 2)
        switches[f"--skip-namespaces {text}"] = _switch(tenant_id=tenant, namespace=namespace)
    for text in _parts(given.get("skip_tenants")):
        switches[f"--skip-tenants {text}"] = _switch(tenant_id=text)
    return switches


def _switch(**scope: Any) -> KillSwitch:
    return KillSwitch(name="command line", evaluation_type=SwitchType.IGNORE, start_date=_ALWAYS, **scope)


def _parts(values: Sequence[str] | None) -> list[str]:
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def _split(text: str, option: str, form: str, count: int) -> list[str | None]:
    """The parts of a name; one that says no tenant is about all of them."""
    parts: list[str | None] = [part.strip() for part in text.split("|")]
    if len(parts) == count - 1:
        parts.insert(0, None)
    if len(parts) != count or "" in parts:
        raise click.BadParameter(f"`{text}`: write it as {form}", param_hint=option)
    return parts
