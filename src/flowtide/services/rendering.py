"""Renders what servers render themselves: inputs and their defaults, conditions and inputs of triggers, checks.

A template and variables come in, a typed value goes out; the functions that read pairs, files and secrets work.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flowtide.expressions import Scope, render_value
from flowtide.model.encrypted import Cipher, has_encrypted
from flowtide.model.services import ServiceType
from flowtide.secrets import Mask, Secrets
from flowtide.services.platform import Platforms
from flowtide.services.worker.encrypted import open_encrypted, protected
from flowtide.storage import ExecutionFolder


class Rendering:
    """What a service renders with; `cipher` is None where no key is configured."""

    def __init__(
        self,
        platforms: Platforms,
        *,
        secrets: Secrets,
        cipher: Cipher | None,
        clock: Callable[[], datetime],
        service: ServiceType,
    ) -> None:
        self._service = service
        self._platforms = platforms
        self._secrets = secrets
        self._cipher = cipher
        self._clock = clock

    def render(self, value: Any, variables: Mapping[str, Any]) -> Any:
        """Render a property of a trigger or an input, keeping types.  Raises ExpressionError."""
        return self._rendered(value, variables, None)

    def render_inputs(self, value: Any, variables: Mapping[str, Any]) -> Any:
        """Render the inputs of a trigger, which are recorded: texts that show a secret are encrypted if there is a key.

        Raises FlowtideError.
        """
        mask = Mask()
        rendered = self._rendered(value, variables, mask)
        if self._cipher is None:
            return rendered
        flow, trigger = variables.get("flow") or {}, variables.get("trigger") or {}
        tenant_id = str(flow.get("tenantId", ""))
        fired_by = trigger.get("date", trigger.get("executionId"))
        place = f"{flow.get('namespace')}.{flow.get('id')}/{fired_by}"
        return protected(rendered, self._cipher, mask, tenant_id, place)

    def _rendered(self, value: Any, variables: Mapping[str, Any], mask: Mask | None) -> Any:
        flow = variables.get("flow") or {}
        tenant_id, namespace = str(flow.get("tenantId", "")), str(flow.get("namespace", ""))
        if has_encrypted(variables.get("trigger")):
            # Outputs of an execution upstream: conditions and inputs see their texts, which are not recorded.
            texts = copy.deepcopy(dict(variables))
            masks = () if mask is None else (mask,)
            open_encrypted(texts, self._cipher, tenant_id=tenant_id, masks=masks)
            variables = texts
        execution = variables.get("execution") or {}
        folder = ExecutionFolder(namespace, str(flow.get("id", "")), str(execution.get("id", "")))
        platforms = self._platforms
        if "namespace" not in variables:
            variables = {**variables, "namespace": platforms.namespaces(tenant_id).variables(namespace)}
        files = platforms.readable_files(tenant_id, folder, service=self._service)
        functions = platforms.functions(
            tenant_id, folder, files, secrets=self._secrets, service=self._service
        )
        scope = Scope(
            variables,
            functions=functions,
            now=self._clock,
            on_secret=None if mask is None else mask.add,
        )
        return render_value(value, scope, typed=True)
