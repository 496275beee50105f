"""Saved templates, deprecated: lists of tasks that flows share (FLW-17).  They are read as flows without inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flowtide.errors import FlowInvalid
from flowtide.model.flow import Flow
from flowtide.model.resources import FLOW_BODY_DECODER, ResourceKind
from flowtide.services.catalog import Catalog


class Templates:
    """The templates of all tenants, as the catalog has them now; each is read when it is asked for."""

    def __init__(self, catalog: Catalog, parse: Callable[[str, str], Flow]) -> None:
        """`parse` reads a source of a tenant, and raises FlowInvalid."""
        self._catalog = catalog
        self._parse = parse

    def __call__(self, tenant: str, namespace: str, template_id: str) -> Flow | None:
        """The template, or None when there is none, or none that can be read."""
        source = self.source(tenant, namespace, template_id)
        if source is None:
            return None
        try:
            return self._parse(source, tenant)
        except FlowInvalid:
            return None

    def source(self, tenant: str, namespace: str, template_id: str) -> str | None:
        """The YAML of a template, byte for byte as it was saved; None when there is none."""
        return template_source(self._catalog, tenant, namespace, template_id)


def template_source(catalog: Catalog, tenant: str, namespace: str, template_id: str) -> str | None:
    """The YAML of a template; None when there is none."""
    resource = catalog.get(ResourceKind.TEMPLATE, tenant, f"{namespace}/{template_id}")
    if resource is None or resource.deleted:
        return None
    return FLOW_BODY_DECODER.decode(resource.body).source


def saved_templates(catalog: Catalog, tenant: str) -> Iterator[tuple[str, str, str]]:
    """Every template of a tenant as (namespace, id, source), sorted."""
    for identifier, resource in catalog.list(ResourceKind.TEMPLATE, tenant):
        if not resource.deleted:
            namespace, _, template_id = identifier.partition("/")
            yield namespace, template_id, FLOW_BODY_DECODER.decode(resource.body).source
