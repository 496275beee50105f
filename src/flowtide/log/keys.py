"""The keys of records: the one place where the tenant enters them.

Every key starts with the tenant, so that partitions, states and documents of two tenants never meet.
"""

from __future__ import annotations

from typing import NamedTuple


class ExecutionKey(NamedTuple):
    """Names one execution of one tenant."""

    tenant: str
    execution_id: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.execution_id}"


class FlowKey(NamedTuple):
    """Names one flow of one tenant, whatever its revision."""

    tenant: str
    namespace: str
    flow_id: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.namespace}/{self.flow_id}"


class TriggerKey(NamedTuple):
    """Names one trigger of one flow of one tenant."""

    tenant: str
    namespace: str
    flow_id: str
    trigger_id: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.namespace}/{self.flow_id}/{self.trigger_id}"


class ResourceKey(NamedTuple):
    """Names one saved thing of one tenant; `identifier` may contain slashes."""

    tenant: str
    kind: str
    identifier: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.kind}/{self.identifier}"


def execution_key(text: str) -> ExecutionKey:
    """Read an execution's key.  Raises ValueError when it is none."""
    parts = text.split("/")
    if len(parts) != 2 or not all(parts):
        raise ValueError(f"{text!r} is not an execution's key (tenant/execution)")
    return ExecutionKey(*parts)


def flow_key(text: str) -> FlowKey:
    """Read a flow's key.  Raises ValueError when it is none."""
    parts = text.split("/")
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"{text!r} is not a flow's key (tenant/namespace/flow)")
    return FlowKey(*parts)


def trigger_key(text: str) -> TriggerKey:
    """Read a trigger's key.  Raises ValueError when it is none."""
    parts = text.split("/")
    if len(parts) != 4 or not all(parts):
        raise ValueError(f"{text!r} is not a trigger's key (tenant/namespace/flow/trigger)")
    return TriggerKey(*parts)


def resource_key(text: str) -> ResourceKey:
    """Read a resource's key.  Raises ValueError when it is none."""
    parts = text.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"{text!r} is not a resource's key (tenant/kind/identifier)")
    return ResourceKey(*parts)
