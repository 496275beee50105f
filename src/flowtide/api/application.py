"""The aiohttp application: shared objects in, an application with all routes and middlewares out.

Middlewares, from the outside in: (1) measure; (2) let other origins in; (3) problems become envelopes; (4) the tenant
exists, the caller is known and may do what they ask for (api/admission.py); (5) what they change goes to the audit log.
"""

from __future__ import annotations

import asyncio
import secrets as system_secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

from flowtide import __version__
from flowtide.api.admission import admit
from flowtide.api.auditing import audit
from flowtide.api.authentication import Authentication
from flowtide.api.cross_origin import add_headers, answer_preflight
from flowtide.api.flow_texts import FLOW_TEXTS, FlowTexts
from flowtide.api.graphs import FLOW_LINKS
from flowtide.api.iam.passwords import RESETS, ResetRequests
from flowtide.api.idempotency import idempotent
from flowtide.api.index_progress import add_behind, fresh
from flowtide.api.keys import (
    AUDIT,
    AUTHENTICATION,
    CATALOG,
    CIPHER,
    CLOCK,
    CREDENTIALS,
    DEDICATED,
    IDEMPOTENCY,
    INDEX,
    LIVE_VIEW,
    LOG,
    LOG_LINES,
    METRICS,
    NEW_IDENTIFIER,
    OWN_WRITES,
    PARSE_FLOW,
    PLATFORMS,
    PLUGINS,
    REGISTRY,
    RENDER,
    RESOURCES,
    SECRETS,
    SITE,
    STORAGE,
    STREAMS,
    TRACING,
    Site,
)
from flowtide.api.login_notes import LoginNotes
from flowtide.api.logins import add_login_routes
from flowtide.api.mailing import MAILER
from flowtide.api.oidc_logins import add_oidc_routes
from flowtide.api.origins import origins_of
from flowtide.api.paths import without_last_slash
from flowtide.api.problems import answer_problems
from flowtide.api.recognition import RECOGNITION, Recognition
from flowtide.api.route import PATTERNS, PREFIX
from flowtide.api.routes import add_routes
from flowtide.api.security import Security
from flowtide.api.session_tokens import SessionTokens
from flowtide.api.setup import SavedCredentials
from flowtide.api.triggers import RECENT, RecentTriggers
from flowtide.index.port import Index
from flowtide.log.port import Log
from flowtide.model.encrypted import Cipher
from flowtide.model.inputs import Render
from flowtide.model.plugin import Registry
from flowtide.model.source import ParsedFlow
from flowtide.services.audit import Audit
from flowtide.services.catalog import Catalog
from flowtide.services.credentials import Credentials
from flowtide.services.dedicated import Dedicated
from flowtide.services.flow_links import FlowLinks
from flowtide.services.idempotency import Idempotency
from flowtide.services.identity import Attempts, ConfiguredLogin, Directory, Identities, Passwords
from flowtide.services.identity.ldap import LdapDirectory
from flowtide.services.identity.tables import DEFAULT_TENANT
from flowtide.services.live_view import LiveView
from flowtide.services.log_lines import LogLines
from flowtide.services.mail import Mailer
from flowtide.services.own_writes import OwnWrites
from flowtide.services.platform import Platforms
from flowtide.services.plugin_docs import PluginCatalogue
from flowtide.services.repeats import repeatable_bytes, repeatable_ids
from flowtide.services.saving import ResourceClient
from flowtide.services.secret_store import SecretStore
from flowtide.settings import Settings
from flowtide.storage import Storage
from flowtide.telemetry.metrics import Metrics
from flowtide.telemetry.traces import API, Tracing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Backends:
    """What the API works on; all of it is started already and outlives the application."""

    log: Log
    index: Index
    storage: Storage
    catalog: Catalog
    resources: ResourceClient
    authentication: Authentication
    metrics: Metrics
    tracing: Tracing
    clock: Callable[[], datetime]  # in UTC
    new_identifier: Callable[[], str]  # of an execution
    platforms: Platforms  # namespaces, pairs, namespace files
    registry: Registry  # the plugins of this instance
    parse_flow: Callable[[str, str], ParsedFlow]  # (source, tenant), with the instance's plugins and defaults
    render: Render  # templates of inputs, webhooks and checks, with functions that may do I/O
    audit: Audit
    secrets: SecretStore
    dedicated: Dedicated
    credentials: Credentials
    cipher: Cipher | None = None  # of SECRET inputs; None: no key is configured
    security: Security = field(default_factory=Security)


def application(backends: Backends, site: Site | None = None) -> web.Application:
    """Build the application.  Its live view starts and ends with it."""
    site = site or Site()
    app = web.Application(
        middlewares=[_measure, answer_preflight, answer_problems, fresh, admit, idempotent, audit],
        client_max_size=site.body_limit_bytes,
    )
    app[SITE] = site
    app[LOG] = backends.log
    app[INDEX] = backends.index
    app[STORAGE] = backends.storage
    app[CATALOG] = backends.catalog
    app[RESOURCES] = backends.resources
    app[AUTHENTICATION] = backends.authentication
    app[METRICS] = backends.metrics
    app[TRACING] = backends.tracing
    app[CLOCK] = backends.clock
    app[NEW_IDENTIFIER] = repeatable_ids(backends.new_identifier)
    app[PLATFORMS] = backends.platforms
    app[REGISTRY] = backends.registry
    app[PARSE_FLOW] = backends.parse_flow
    app[PLUGINS] = PluginCatalogue(backends.registry, __version__)
    app[RENDER] = backends.render
    app[AUDIT] = backends.audit
    app[SECRETS] = backends.secrets
    app[DEDICATED] = backends.dedicated
    app[CREDENTIALS] = backends.credentials
    if backends.cipher is not None:
        app[CIPHER] = backends.cipher
    app[RECENT] = RecentTriggers()
    app[FLOW_LINKS] = FlowLinks()
    app[FLOW_TEXTS] = FlowTexts()
    app[LIVE_VIEW] = LiveView(backends.log, backends.index)
    app[LOG_LINES] = LogLines(backends.log, backends.index)
    app[OWN_WRITES] = OwnWrites(
        backends.log, backends.catalog, server=backends.new_identifier(), seconds=time.monotonic
    )
    app.on_response_prepare.append(add_behind)
    app[IDEMPOTENCY] = Idempotency(
        backends.catalog,
        backends.resources,
        seal=backends.secrets.seal,
        unseal=backends.secrets.unseal,
        clock=backends.clock,
        kept=site.idempotency_kept,
    )
    streams: set[asyncio.Task[Any]] = set()
    app[STREAMS] = streams
    app.on_shutdown.append(_end_streams)
    app.on_response_prepare.append(add_headers)
    app.cleanup_ctx.append(_followers)
    app[RECOGNITION] = _recognition(backends)
    app[MAILER] = Mailer(backends.security.mail_server)
    app[RESETS] = ResetRequests(
        backends.clock, most=backends.security.reset_requests, window=backends.security.reset_window
    )
    app[PATTERNS] = add_routes(app.router, site.context_path)
    # The one hook for this: handlers and middlewares see what was found, and the request as it came.
    resolve = without_last_slash(app.router.resolve, site.context_path + PREFIX)
    app.router.resolve = resolve  # type: ignore[method-assign,assignment]  # aiohttp has no other place for it
    add_oidc_routes(app, site.context_path)
    add_login_routes(app.router, site.context_path, by_get=backends.security.logout_by_get)
    return app


def site_of(settings: Settings) -> Site:
    """What the settings say about the API."""
    path = settings.server.context_path.strip("/")
    badge = {"name": settings.environment.name, "color": settings.environment.color}
    environment = {name: value for name, value in badge.items() if value is not None}
    limit_bytes = min(settings.server.max_request_size_bytes, Site.body_limit_bytes)
    return Site(
        url=settings.url,
        backends={
            "repositoryType": settings.repository.type.value,
            "queueType": settings.queue.type.value,
            "storageType": settings.storage.type,
            "secretType": settings.secret.type,
        },
        context_path=f"/{path}" if path else "",
        body_limit_bytes=limit_bytes,
        file_limit_bytes=settings.server.max_file_size_bytes,
        request_limit_bytes=settings.server.max_request_size_bytes,
        body_timeout=min(settings.server.read_idle_timeout, settings.server.idle_timeout, Site.body_timeout),
        wait_timeout=settings.server.idle_timeout,
        cors=origins_of(settings.server.cors_configurations) if settings.server.cors_enabled else (),
        client_address_header=settings.server.client_address_header,
        webhook_requires_login=settings.server.webhook_requires_login,
        idempotency_kept=settings.server.idempotency_expiration,
        system_namespace=settings.system_namespace,
        templates_enabled=settings.templates.enabled,
        hidden_label_prefixes=settings.hidden_label_prefixes,
        environment=environment or None,
        regex_timeout=settings.regex_timeout,
        preview_initial_rows=settings.server.preview_initial_rows,
        preview_max_rows=settings.server.preview_max_rows,
    )


def authentication_of(settings: Settings, catalog: Catalog, resources: ResourceClient) -> Authentication:
    """The login that the settings name, or the one that the set-up stored.  Raises ValueError for a poor one."""
    configured = settings.server.basic_auth
    return Authentication(
        SavedCredentials(catalog, resources),
        username=configured.username,
        password=configured.password,
        open_urls=configured.open_urls,
    )


def _recognition(backends: Backends) -> Recognition:
    security, authentication = backends.security, backends.authentication

    def configured() -> list[ConfiguredLogin]:
        found = []
        if security.superadmin_username is not None:
            tenants = frozenset(security.superadmin_tenants)
            found.append(ConfiguredLogin(name=security.superadmin_username, admin_tenants=tenants))
        if authentication.login_name is not None:
            found.append(
                ConfiguredLogin(name=authentication.login_name, admin_tenants=frozenset({DEFAULT_TENANT}))
            )
        return found

    identities = Identities(backends.catalog, configured=configured)
    passwords = Passwords(rounds=security.hash_rounds, rule=security.password_rule)
    attempts = Attempts(backends.clock, security.limits)
    directory = Directory(
        identities,
        backends.catalog,
        backends.resources,
        passwords,
        clock=backends.clock,
        ids=repeatable_ids(backends.new_identifier),
        token_bytes=repeatable_bytes(system_secrets.token_bytes),
        default_role=security.default_role,
        on_lock_end=attempts.forget,
    )
    tokens = SessionTokens(
        security.signing_key,
        backends.catalog,
        backends.resources,
        clock=backends.clock,
        lifetime=security.access_lifetime,
        former=security.former_signing_keys,
    )
    return Recognition(
        authentication,
        identities,
        directory,
        passwords,
        attempts,
        tokens,
        security,
        clock=backends.clock,
        directories=[LdapDirectory(each) for each in security.directories],
        notes=LoginNotes(backends.audit),
    )


async def _followers(app: web.Application) -> AsyncIterator[None]:
    await app[LIVE_VIEW].start()
    await app[LOG_LINES].start()
    await app[OWN_WRITES].start()
    await app[IDEMPOTENCY].start()
    yield
    await app[MAILER].close()
    app[RECOGNITION].close()
    await app[IDEMPOTENCY].close()
    await app[OWN_WRITES].close()
    await app[LOG_LINES].close()
    await app[LIVE_VIEW].close()


async def _end_streams(app: web.Application) -> None:
    """Followers would hold a server that stops; they come back to another one."""
    streams = app[STREAMS]
    for task in tuple(streams):
        task.cancel()


@web.middleware
async def _measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Time each request by its pattern, and trace it."""
    resource = request.match_info.route.resource
    pattern = "UNMATCHED_URI" if resource is None else resource.canonical
    app = request.app
    began = time.perf_counter()
    status = 500
    try:
        if app[TRACING].enabled:
            name, sent = f"{request.method} {pattern}", request.headers.get("traceparent")
            with app[TRACING].span(name, category=API, traceparent=sent):
                response = await handler(request)
        else:
            response = await handler(request)
        status = response.status
        return response
    finally:
        timer = app[METRICS].timer("http.server.requests", request.method, str(status), pattern)
        timer.observe(time.perf_counter() - began)
