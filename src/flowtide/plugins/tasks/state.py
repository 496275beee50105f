"""`core.state.*`: the former state store, kept as pairs of the key-value store (KVS-13, page 267)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from flowtide.errors import TaskFailed
from flowtide.expressions import truthy
from flowtide.model.identifiers import derived_identifier
from flowtide.model.platform import ValueType
from flowtide.model.task import RunContext, RunnableTask


class _State(RunnableTask):
    """What the three tasks share: which state is meant."""

    name: Annotated[str, Field(title="The name of the state", description="A template.")] = "default"
    namespace: Annotated[
        bool | str, Field(title="Whether all flows of the namespace share it; otherwise it is the flow's own")
    ] = False
    taskrun_value: Annotated[
        bool | str, Field(title="Whether each value of a loop has a state of its own")
    ] = True

    async def _key(self, context: RunContext) -> str:
        name = str(await context.evaluate(self.name, typed=False))
        parts = [name]
        if not truthy(await context.evaluate(self.namespace)):
            parts.append(context.flow_id)
        run = context.variables.get("taskrun")
        value = run.get("value") if isinstance(run, Mapping) else None
        if value is not None and truthy(await context.evaluate(self.taskrun_value)):
            parts.append(str(value))
        # Names and values may have letters, and a length, that keys cannot have.
        return f"state_{derived_identifier(*parts)}"


class Get(_State):
    """Read a state."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "data": ("object", "The state"),
        "count": ("integer", "The number of its entries"),
        "key": ("string", "Where it is kept"),
    }
    title: ClassVar[str] = "Read a state"
    deprecated: ClassVar[str] = "use io.kestra.plugin.core.kv.Get"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.states.Get",)
    example: ClassVar[str] = """\
id: read_a_state
namespace: company.team
tasks:
  - id: state
    type: io.kestra.plugin.core.state.Get
"""

    error_on_missing: Annotated[bool | str, Field(title="Whether the task fails when there is none")] = False

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `data`, `count` and `key`.  Raises TaskFailed."""
        key = await self._key(context)
        found = await context.platform.key_values.find(context.namespace, key)
        if found is None and truthy(await context.evaluate(self.error_on_missing)):
            raise TaskFailed(f"there is no state `{self.name}`")
        data = {} if found is None else found[1]
        return {"data": data, "count": len(data), "key": key}


class Set(_State):
    """Add to a state."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "count": ("integer", "The number of entries now"),
        "key": ("string", "Where it is kept"),
    }
    title: ClassVar[str] = "Add to a state"
    deprecated: ClassVar[str] = "use io.kestra.plugin.core.kv.Set"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.states.Set",)
    example: ClassVar[str] = """\
id: write_a_state
namespace: company.team
tasks:
  - id: state
    type: io.kestra.plugin.core.state.Set
    data:
      last: "{{ execution.startDate }}"
"""

    data: Annotated[
        Mapping[str, Any] | str,
        Field(title="What is added", description="Values that are there are replaced."),
    ] = {}

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `count` and `key`.  Raises TaskFailed."""
        key = await self._key(context)
        data = await context.evaluate(self.data)
        if not isinstance(data, Mapping):
            raise TaskFailed("property `data`: it must be a mapping")
        found = await context.platform.key_values.find(context.namespace, key)
        merged = {**({} if found is None else found[1]), **data}
        await context.platform.key_values.set(context.namespace, key, merged, type=ValueType.JSON)
        return {"count": len(merged), "key": key}


class Delete(_State):
    """Remove a state."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "deleted": ("boolean", "Whether there was a state"),
    }
    title: ClassVar[str] = "Remove a state"
    deprecated: ClassVar[str] = "use io.kestra.plugin.core.kv.Delete"
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.tasks.states.Delete",)
    example: ClassVar[str] = """\
id: forget_a_state
namespace: company.team
tasks:
  - id: state
    type: io.kestra.plugin.core.state.Delete
"""

    error_on_missing: Annotated[bool | str, Field(title="Whether the task fails when there is none")] = False

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `deleted`.  Raises TaskFailed."""
        deleted = await context.platform.key_values.delete(context.namespace, await self._key(context))
        if not deleted and truthy(await context.evaluate(self.error_on_missing)):
            raise TaskFailed(f"there is no state `{self.name}`")
        return {"deleted": deleted}
