"""`core.kv.*`: tasks that write, read, list and remove pairs of the key-value store (page 061, RUN-12 to RUN-16)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from flowtide.errors import ResourceConflict, TaskFailed, ValueInvalid
from flowtide.expressions import truthy
from flowtide.model.durations import DurationTemplate, parse_duration
from flowtide.model.namespace_files import Names
from flowtide.model.platform import ValueType
from flowtide.model.task import RunContext, RunnableTask
from flowtide.plugins.tasks.namespace_mount import texts

_Namespace = Annotated[
    str | None, Field(title="The namespace", description="A template; the flow's by default.")
]
_Key = Annotated[str, Field(title="The key", description="A template.")]


class Set(RunnableTask):
    """Write a pair."""

    title: ClassVar[str] = "Set a pair of the key-value store"
    example: ClassVar[str] = """\
id: remember_the_day
namespace: company.team
tasks:
  - id: remember
    type: io.kestra.plugin.core.kv.Set
    key: last_day
    value: "{{ execution.startDate }}"
    kvType: DATETIME
    ttl: P30D
  - id: show
    type: io.kestra.plugin.core.log.Log
    message: "{{ kv('last_day') }}"
"""

    key: _Key
    value: Annotated[Any, Field(title="The value", description="A template, or any value.")]
    namespace: _Namespace = None
    kv_type: Annotated[
        ValueType | None, Field(title="What the value is", description="Without it, it is kept as a text.")
    ] = None
    ttl: Annotated[
        DurationTemplate | None,
        Field(title="How long it can be read", description="A duration; without it, until it is removed."),
    ] = None
    overwrite: Annotated[
        bool | str, Field(title="Whether a pair that exists is replaced; otherwise the task fails")
    ] = True
    kv_description: Annotated[str | None, Field(title="What people read about it")] = None

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Write the pair.  Raises TaskFailed."""
        key = await context.evaluate(self.key, typed=False)
        typed = self.kv_type is ValueType.JSON or not isinstance(self.value, str)
        value = await context.evaluate(self.value, typed=typed)
        ttl: timedelta | None = None
        if self.ttl is not None:
            try:
                ttl = (
                    self.ttl
                    if isinstance(self.ttl, timedelta)
                    else parse_duration(await context.evaluate(self.ttl, typed=False))
                )
            except ValueError as error:
                raise TaskFailed(f"property `ttl`: {error}") from None
        description = None
        if self.kv_description is not None:
            description = await context.evaluate(self.kv_description, typed=False)
        try:
            await context.platform.key_values.set(
                await namespace_of(self.namespace, context),
                str(key),
                value,
                type=self.kv_type or ValueType.STRING,
                ttl=ttl,
                description=description,
                overwrite=truthy(await context.evaluate(self.overwrite)),
                by=f"{context.namespace}.{context.flow_id}",
            )
        except (ResourceConflict, ValueInvalid) as error:
            raise TaskFailed(error.message) from None
        return {}


class Get(RunnableTask):
    """Read a pair."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "value": ("any", "The value; absent when there is none"),
    }
    title: ClassVar[str] = "Read a pair of the key-value store"
    example: ClassVar[str] = """\
id: read_a_pair
namespace: company.team
tasks:
  - id: get
    type: io.kestra.plugin.core.kv.Get
    key: last_day
    errorOnMissing: false
  - id: show
    type: io.kestra.plugin.core.log.Log
    message: "{{ outputs.get.value ?? 'never' }}"
"""

    key: _Key
    namespace: _Namespace = None
    error_on_missing: Annotated[bool | str, Field(title="Whether the task fails when there is none")] = False

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `value`.  Raises TaskFailed."""
        key = str(await context.evaluate(self.key, typed=False))
        namespace = await namespace_of(self.namespace, context)
        found = await context.platform.key_values.find(namespace, key)
        if found is None:
            await _missing(self.error_on_missing, namespace, key, context)
            return {}
        return {"value": found[1]}


class GetKeys(RunnableTask):
    """List keys."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "keys": ("array", "The keys"),
    }
    title: ClassVar[str] = "List keys of the key-value store"
    example: ClassVar[str] = """\
id: list_keys
namespace: company.team
tasks:
  - id: keys
    type: io.kestra.plugin.core.kv.GetKeys
    prefix: test_
  - id: show
    type: io.kestra.plugin.core.log.Log
    message: "{{ outputs.keys.keys }}"
"""

    prefix: Annotated[
        str | None, Field(title="How the keys begin", description="A template; all keys by default.")
    ] = None
    namespace: _Namespace = None

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `keys`, sorted."""
        prefix = "" if self.prefix is None else str(await context.evaluate(self.prefix, typed=False))
        found = await context.platform.key_values.list(await namespace_of(self.namespace, context), prefix)
        return {"keys": [pair.key for pair in found]}


class Delete(RunnableTask):
    """Remove a pair."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "deleted": ("boolean", "Whether there was such a pair"),
    }
    title: ClassVar[str] = "Remove a pair of the key-value store"
    example: ClassVar[str] = """\
id: forget_a_pair
namespace: company.team
tasks:
  - id: forget
    type: io.kestra.plugin.core.kv.Delete
    key: last_day
"""

    key: _Key
    namespace: _Namespace = None
    error_on_missing: Annotated[bool | str, Field(title="Whether the task fails when there is none")] = False

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `deleted`.  Raises TaskFailed."""
        key = str(await context.evaluate(self.key, typed=False))
        namespace = await namespace_of(self.namespace, context)
        deleted = await context.platform.key_values.delete(namespace, key)
        if not deleted:
            await _missing(self.error_on_missing, namespace, key, context)
        return {"deleted": deleted}


class PurgeKV(RunnableTask):
    """Remove many pairs for good."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "size": ("integer", "How many pairs were removed"),
        "count": ("integer", "The same"),
    }
    metrics: ClassVar[Mapping[str, str]] = {"count": "counter"}
    title: ClassVar[str] = "Remove expired pairs of the key-value store"
    example: ClassVar[str] = """\
id: purge_pairs
namespace: system
tasks:
  - id: purge
    type: io.kestra.plugin.core.kv.PurgeKV
    expiredOnly: true
    namespaces:
      - company
    includeChildNamespaces: true
"""

    namespaces: Annotated[
        Names | None, Field(title="The namespaces", description="All namespaces by default.")
    ] = None
    include_child_namespaces: Annotated[
        bool | str, Field(title="Whether namespaces below them count too")
    ] = True
    expired_only: Annotated[bool | str, Field(title="Whether pairs that can still be read stay")] = True

    async def run(self, context: RunContext) -> dict[str, Any]:
        """Give `size`, the number of removed pairs, and the same as `count`."""
        namespaces = None if self.namespaces is None else await texts(self.namespaces, context)
        count = await context.platform.key_values.purge(
            namespaces,
            children=truthy(await context.evaluate(self.include_child_namespaces)),
            expired_only=truthy(await context.evaluate(self.expired_only)),
        )
        context.counter("count", count)
        return {"size": count, "count": count}


async def namespace_of(namespace: str | None, context: RunContext) -> str:
    """The namespace that a property names, the flow's where it names none."""
    if namespace is None:
        return context.namespace
    return str(await context.evaluate(namespace, typed=False)) or context.namespace


async def _missing(error_on_missing: bool | str, namespace: str, key: str, context: RunContext) -> None:
    if truthy(await context.evaluate(error_on_missing)):
        raise TaskFailed(f"The key '{key}' does not exist in the namespace '{namespace}'.")
