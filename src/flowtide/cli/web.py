"""Puts the web application together: the shared objects of a process in, what its webserver serves out."""

from __future__ import annotations

from aiohttp import web

from flowtide.api.application import Backends, application, authentication_of, site_of
from flowtide.api.security import security_of
from flowtide.services.process import Process


def web_application(process: Process) -> web.Application:
    """The HTTP interface of a process.  Raises ValueError for a login that is no login."""
    backends = Backends(
        log=process.log,
        index=process.index,
        storage=process.storage,
        catalog=process.catalog,
        resources=process.client,
        authentication=authentication_of(process.settings, process.catalog, process.client),
        metrics=process.metrics,
        tracing=process.tracing,
        clock=process.surroundings.clock,
        new_identifier=process.surroundings.ids,
        platforms=process.platforms,
        registry=process.registry,
        parse_flow=process.read_flow,
        render=process.rendering.render,
        audit=process.audit,
        secrets=process.secrets,
        dedicated=process.dedicated,
        credentials=process.credentials,
        cipher=process.encryption,
        security=security_of(process.settings),
    )
    return application(backends, site_of(process.settings))
