"""The typed keys under which the application holds what its handlers share; `application` sets all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from flowtide.api.authentication import Authentication
from flowtide.api.origins import Origins
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
from flowtide.services.idempotency import DEFAULT_KEPT, Idempotency
from flowtide.services.live_view import LiveView
from flowtide.services.log_lines import LogLines
from flowtide.services.own_writes import OwnWrites
from flowtide.services.platform import Platforms
from flowtide.services.plugin_docs import PluginCatalogue
from flowtide.services.saving import ResourceClient
from flowtide.services.secret_store import SecretStore
from flowtide.storage import Storage
from flowtide.telemetry.metrics import Metrics
from flowtide.telemetry.traces import Tracing


@dataclass(frozen=True, kw_only=True)
class Site:
    """How this server presents itself, and what it takes."""

    url: str | None = None  # the public address, for links; None: links are paths
    context_path: str = ""  # "" or "/kestra": before every path
    body_limit_bytes: int = 10 * 1024 * 1024  # of everything but files
    file_limit_bytes: int = 10 * 1024**3
    request_limit_bytes: int = 10 * 1024**3  # of everything together
    body_timeout: timedelta = timedelta(seconds=60)  # the longest silence while a body arrives
    wait_timeout: timedelta = timedelta(minutes=60)  # the longest `wait=true`
    answer_timeout: timedelta = timedelta(seconds=5)  # how long an answer waits for the effect of its command
    index_timeout: timedelta = timedelta(seconds=5)  # how long a list waits for what its caller changed
    idempotency_kept: timedelta = DEFAULT_KEPT  # how long the answer to a request with a key is kept
    webhook_requires_login: bool = False  # trap 15 of catalogue B: the key alone protects a webhook
    cors: tuple[Origins, ...] = ()  # which other origins are let in; empty: none
    client_address_header: str | None = None  # where a proxy says who calls; None: the connection says it
    system_namespace: str = "system"
    templates_enabled: bool = False  # whether the deprecated templates are there
    hidden_label_prefixes: tuple[str, ...] = ("system.", "internal.")
    backends: Mapping[str, str] = field(
        default_factory=dict
    )  # what it stands on, for the set-up page (SET-01)
    environment: Mapping[str, str] | None = None  # name and colour shown in the interface
    preview_initial_rows: int = 100
    preview_max_rows: int = 5_000
    regex_timeout: timedelta = timedelta(seconds=10)


LOG = web.AppKey("log", Log)
INDEX = web.AppKey("index", Index)
STORAGE = web.AppKey("storage", Storage)
CATALOG = web.AppKey("catalog", Catalog)
RESOURCES = web.AppKey("resources", ResourceClient)
LIVE_VIEW = web.AppKey("live_view", LiveView)
LOG_LINES = web.AppKey("log_lines", LogLines)
AUTHENTICATION = web.AppKey("authentication", Authentication)
SITE = web.AppKey("site", Site)
METRICS = web.AppKey("metrics", Metrics)
TRACING = web.AppKey("tracing", Tracing)
CLOCK: web.AppKey[Callable[[], datetime]] = web.AppKey("clock")
NEW_IDENTIFIER: web.AppKey[Callable[[], str]] = web.AppKey("new_identifier")
REGISTRY = web.AppKey("registry", Registry)  # the plugins of this instance
PARSE_FLOW: web.AppKey[Callable[[str, str], ParsedFlow]] = web.AppKey("parse_flow")
PLATFORMS = web.AppKey("platforms", Platforms)
PLUGINS = web.AppKey("plugins", PluginCatalogue)
RENDER: web.AppKey[Render] = web.AppKey("render")
SECRETS = web.AppKey("secrets", SecretStore)
DEDICATED = web.AppKey("dedicated", Dedicated)  # what tenants and namespaces have of their own
AUDIT = web.AppKey("audit", Audit)
OWN_WRITES = web.AppKey("own_writes", OwnWrites)
IDEMPOTENCY = web.AppKey("idempotency", Idempotency)
CREDENTIALS = web.AppKey("credentials", Credentials)
CIPHER: web.AppKey[Cipher] = web.AppKey("cipher")  # absent: no key is configured

STREAMS: web.AppKey[set[asyncio.Task[Any]]] = web.AppKey("streams")  # the open event streams
TENANT = web.RequestKey("tenant", str)
NAMED: web.RequestKey[list[str]] = web.RequestKey(
    "named"
)  # the ids in the body of a request, for the audit log
STARTED: web.RequestKey[list[str]] = web.RequestKey("started")  # the ids of the executions that it started
USER = web.RequestKey("user", str)  # absent on paths that need no login
