"""Plans of saved flows: what the catalog holds as YAML becomes ready for deciding, once per revision."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import structlog

from flowtide.engine.plan import Plan
from flowtide.errors import FlowtideError
from flowtide.log.keys import ResourceKey
from flowtide.model.encrypted import Cipher
from flowtide.model.resources import Resource, ResourceKind
from flowtide.model.task import WorkerGroup
from flowtide.services.catalog import Catalog
from flowtide.services.templates import Templates

_KEPT = 2000
"""Plans kept at most; a plan of a small flow takes some 20 kB."""

log = structlog.get_logger(__name__)


class Plans:
    """Looks plans up; callable as `flowtide.processors.executions.Plans`."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        instance_variables: Mapping[str, Any] | None = None,
        cipher: Cipher | None = None,
        subflow_outputs: bool = False,
        templates: Templates | None = None,
        listeners: bool = False,
        namespace_variables: Callable[[str, str], Mapping[str, Any]] | None = None,
        default_groups: Callable[
            [str, str], Iterable[tuple[str, WorkerGroup]]
        ] = lambda tenant, namespace: (),
    ) -> None:
        """`namespace_variables` gives those that flows of a tenant's namespace see, None where there are none.

        `default_groups` gives the worker groups of a tenant's namespace, the nearest first, with what to call them.
        """
        self._default_groups = default_groups
        self._catalog = catalog
        self._instance_variables = instance_variables or {}
        self._cipher = cipher
        self._subflow_outputs = subflow_outputs
        self._templates = templates
        self._listeners = listeners
        self._namespace_variables = namespace_variables
        self._plans: OrderedDict[tuple[str, str, str, int], Plan] = OrderedDict()
        catalog.on_change(self._changed)

    def __call__(self, tenant: str, namespace: str, flow_id: str, revision: int | None) -> Plan | None:
        """The plan of a revision, or of the latest one; None when it is not known, deleted, or cannot be read."""
        if revision is not None:
            plan = self._plans.get((tenant, namespace, flow_id, revision))
            if plan is not None:
                return plan
        saved = self._catalog.flow(tenant, namespace, flow_id, revision)
        if saved is None or (saved.deleted and revision is None):
            return None
        key = (tenant, namespace, flow_id, saved.revision)
        plan = self._plans.get(key)
        if plan is not None:
            self._plans.move_to_end(key)
            return plan
        try:
            plan = Plan(
                saved.flow,
                tenant=tenant,
                revision=saved.revision,
                instance_variables=self._instance_variables,
                cipher=self._cipher,
                subflow_outputs=self._subflow_outputs,
                listeners=self._listeners,
                default_groups=self._default_groups(tenant, namespace),
                templates=partial(self._templates, tenant) if self._templates is not None else None,
                namespace_variables=(
                    {} if self._namespace_variables is None else self._namespace_variables(tenant, namespace)
                ),
            )
        except FlowtideError as error:
            # It was saved by another version, or a plugin is missing here.
            log.warning("a saved flow cannot be run", namespace=namespace, flow=flow_id, reason=str(error))
            return None
        self._plans[key] = plan
        if len(self._plans) > _KEPT:
            self._plans.popitem(last=False)
        return plan

    def _changed(self, key: ResourceKey, resource: Resource | None) -> None:
        """A namespace hands variables, plugin defaults and its worker group down: its plans are built anew (PLD-04)."""
        if key.kind in (ResourceKind.TEMPLATE, ResourceKind.TENANT):
            tenant = key.tenant if key.kind == ResourceKind.TEMPLATE else key.identifier
            for plan in [each for each in self._plans if each[0] == tenant]:
                del self._plans[plan]
        if key.kind != ResourceKind.NAMESPACE:
            return
        for plan in [each for each in self._plans if each[0] == key.tenant]:
            if plan[1] == key.identifier or plan[1].startswith(f"{key.identifier}."):
                del self._plans[plan]
