"""Who listens to executions: a table of the flows with Flow triggers, kept up to date as flows are saved.

In come saved flows, out goes, for an execution that reached a state, the flows that may want to know.  Asking costs a
look into a few dictionaries, however many flows there are; a flow that names neither flow nor namespace is given every
execution of its tenant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from flowtide.errors import FlowInvalid, NamespaceForbidden
from flowtide.log.keys import FlowKey, ResourceKey
from flowtide.model.flow import Flow
from flowtide.model.resources import Resource, ResourceKind
from flowtide.model.states import State
from flowtide.model.triggers.flow import FlowTrigger
from flowtide.model.upstream import Pattern, Reach, of_flow
from flowtide.processors.flow_triggers import ListeningFlow
from flowtide.processors.notes import Listener
from flowtide.services.catalog import Catalog, SavedFlow

_MARKS = (b"trigger.Flow", b"types.Flow")
"""One of these stands in the source of every flow with a Flow trigger: all others need not be parsed."""

logger = structlog.get_logger(__name__)

_Interests = dict[Pattern, frozenset[State]]
"""The states in which executions of a pattern are wanted."""


class _Tenant:
    """The listeners of one tenant."""

    def __init__(self) -> None:
        self.by_pattern: dict[Pattern, dict[FlowKey, tuple[Listener, frozenset[State]]]] = {}
        self.by_flow: dict[FlowKey, _Interests] = {}
        self.prefix_lengths: dict[int, int] = {}  # length of a prefix -> how many patterns have it


class ListenerTable:
    """The table; callable as `flowtide.processors.notes.Listeners`.  It reads the catalog, which must be started."""

    def __init__(
        self,
        catalog: Catalog,
        check_access: Callable[[str, str, str], None] = lambda tenant, reader, owner: None,
    ) -> None:
        """`check_access` raises NamespaceForbidden where flows of a namespace must not listen to another's (NSM-13)."""
        self._check_access = check_access
        self._catalog = catalog
        self._tenants: dict[str, _Tenant] = {}
        for tenant in catalog.tenants():
            for saved in catalog.flows(tenant):
                self._take_in(saved.key, saved)
        catalog.on_change(self._changed)

    def __call__(self, tenant: str, namespace: str, flow_id: str, state: State) -> Sequence[Listener]:
        """The flows that may want an execution of a flow in this state, each once."""
        found = self._tenants.get(tenant)
        if found is None:
            return ()
        patterns = [
            Pattern(Reach.FLOW, namespace, flow_id),
            Pattern(Reach.NAMESPACE, namespace),
            Pattern(Reach.ANYTHING),
        ]
        patterns += [Pattern(Reach.PREFIX, namespace[:length]) for length in found.prefix_lengths]
        wanted: dict[FlowKey, Listener] = {}
        for pattern in patterns:
            for key, (listener, states) in found.by_pattern.get(pattern, {}).items():
                if state in states:
                    wanted[key] = listener
        return [
            listener for listener in wanted.values() if self._lets_in(tenant, listener.namespace, namespace)
        ]

    def _lets_in(self, tenant: str, reader: str, owner: str) -> bool:
        try:
            self._check_access(tenant, reader, owner)
        except NamespaceForbidden:
            return False
        return True

    def _changed(self, key: ResourceKey, resource: Resource | None) -> None:
        if key.kind != ResourceKind.FLOW:
            return
        namespace, _, flow_id = key.identifier.partition("/")
        flow = FlowKey(key.tenant, namespace, flow_id)
        saved = None if resource is None or resource.deleted else self._catalog.flow(*flow)
        self._take_in(flow, saved)

    def _take_in(self, key: FlowKey, saved: SavedFlow | None) -> None:
        interests = {} if saved is None else _interests(saved)
        tenant = self._tenants.get(key.tenant)
        if tenant is None:
            if not interests:
                return
            tenant = self._tenants[key.tenant] = _Tenant()
        for pattern in tenant.by_flow.pop(key, {}):
            listeners = tenant.by_pattern[pattern]
            del listeners[key]
            if not listeners:
                del tenant.by_pattern[pattern]
                _count(tenant, pattern, -1)
        if saved is not None and interests:
            listener = Listener(key.namespace, key.flow_id, saved.revision)
            tenant.by_flow[key] = interests
            for pattern, states in interests.items():
                if pattern not in tenant.by_pattern:
                    tenant.by_pattern[pattern] = {}
                    _count(tenant, pattern, 1)
                tenant.by_pattern[pattern][key] = (listener, states)
        if not tenant.by_flow:
            del self._tenants[key.tenant]


def listening_flow(catalog: Catalog, key: FlowKey) -> ListeningFlow | None:
    """What the *flows* processor asks: the latest revision of a flow; None for an unknown one."""
    saved = catalog.flow(*key)
    if saved is None:
        return None
    try:
        return ListeningFlow(saved.revision, None if saved.deleted else saved.flow)
    except FlowInvalid:
        return ListeningFlow(saved.revision, None)


def _interests(saved: SavedFlow) -> _Interests:
    """What a flow wants to know of; nothing when it has no Flow trigger that may fire."""
    source = saved.source.encode()
    if not any(mark in source for mark in _MARKS):
        return {}
    try:
        flow = saved.flow
    except FlowInvalid as error:
        logger.warning(
            "a saved flow cannot be read, so it listens to nothing", flow=str(saved.key), reason=str(error)
        )
        return {}
    if flow.disabled:
        return {}
    return _interests_of(flow)


def _interests_of(flow: Flow) -> _Interests:
    interests: _Interests = {}

    def want(pattern: Pattern, states: frozenset[State]) -> None:
        if states:
            interests[pattern] = interests.get(pattern, frozenset()) | states

    for trigger in flow.triggers:
        if not isinstance(trigger, FlowTrigger) or trigger.disabled:
            continue
        for pattern in trigger.upstream():
            want(pattern, trigger.listens_to())
        want(of_flow(flow.namespace, flow.id), frozenset(trigger.stop_after))
    return interests


def _count(tenant: _Tenant, pattern: Pattern, change: int) -> None:
    if pattern.reach is not Reach.PREFIX:
        return
    length = len(pattern.namespace)
    count = tenant.prefix_lengths.get(length, 0) + change
    if count:
        tenant.prefix_lengths[length] = count
    else:
        del tenant.prefix_lengths[length]
