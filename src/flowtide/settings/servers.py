"""Settings of the servers: who may log in, liveness, addresses, workers; groups of the one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from flowtide.settings.fields import setting

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class RestartStrategy(StrEnum):
    """When the task runs of a dead worker are handed out again (LIFE-8)."""

    AFTER_TERMINATION_GRACE_PERIOD = "AFTER_TERMINATION_GRACE_PERIOD"
    IMMEDIATELY = "IMMEDIATELY"
    NEVER = "NEVER"


@dataclass(frozen=True, kw_only=True)
class BasicAuth:
    """The one login of the API (SEC-1..6)."""

    username: str | None = setting(
        "server.basic-auth.username",
        None,
        "An e-mail address. Without it the first visitor sets up the login.",
    )
    password: str | None = setting(
        "server.basic-auth.password",
        None,
        "The password; wins over the one from the set-up page.",
        secret=True,
    )
    open_urls: tuple[str, ...] = setting(
        "server.basic-auth.open-urls",
        (),
        "Beginnings of paths that need no login (`/api/v1/main/executions/webhook/`).",
    )


@dataclass(frozen=True, kw_only=True)
class Liveness:
    """How services notice that another one died (LIFE-11, LIFE-12)."""

    enabled: bool = setting("server.liveness.enabled", True, "Whether dead services are looked for.")
    interval: timedelta = setting(
        "server.liveness.interval", timedelta(seconds=5), "Time between two looks.", unit="duration"
    )
    timeout: timedelta = setting(
        "server.liveness.timeout",
        timedelta(seconds=45),
        "A service that was not heard of for so long is taken for dead; the same on all executors.",
        unit="duration",
    )
    initial_delay: timedelta = setting(
        "server.liveness.initial-delay",
        timedelta(seconds=45),
        "Time after the start before the first look; the same on all executors.",
        unit="duration",
    )
    heartbeat_interval: timedelta = setting(
        "server.liveness.heartbeat-interval",
        timedelta(seconds=3),
        "Time between two signs of life; shorter than the timeout.",
        unit="duration",
    )


@dataclass(frozen=True, kw_only=True)
class AccessLog:
    """A line for each request (KEY-65)."""

    enabled: bool = setting(
        "server.access-log.enabled",
        False,
        "Whether requests are logged.",
        also=("micronaut.server.netty.access-logger.enabled",),
    )
    exclusions: tuple[str, ...] = setting(
        "server.access-log.exclusions",
        (),
        "Regular expressions of paths that are not logged.",
        also=("micronaut.server.netty.access-logger.exclusions",),
    )


@dataclass(frozen=True, kw_only=True)
class Server:
    """The web server and what all services share."""

    host: str = setting(
        "server.host",
        "0.0.0.0",  # noqa: S104 - a server in a container is reached from outside
        "The address to listen on.",
        also=("micronaut.server.host",),
    )
    port: int = setting(
        "server.port", 8080, "The port of API and user interface.", also=("micronaut.server.port",)
    )
    context_path: str = setting(
        "server.context-path",
        "",
        "A path before all others, for a proxy; the first slash is optional.",
        also=("micronaut.server.context-path",),
    )
    max_request_size_bytes: int = setting(
        "server.max-request-size",
        10 * 1024**3,
        "The largest request.",
        also=("micronaut.server.max-request-size",),
        unit="bytes",
    )
    max_file_size_bytes: int = setting(
        "server.multipart.max-file-size",
        10 * 1024**3,
        "The largest file in a form.",
        also=("micronaut.server.multipart.max-file-size",),
        unit="bytes",
    )
    idle_timeout: timedelta = setting(
        "server.idle-timeout",
        timedelta(minutes=60),
        "How long a connection may be silent.",
        also=("micronaut.server.idle-timeout",),
        unit="duration",
    )
    read_idle_timeout: timedelta = setting(
        "server.read-idle-timeout",
        timedelta(minutes=60),
        "How long a request's head or body may be silent; more than a minute is taken for a minute.",
        also=("micronaut.server.read-idle-timeout",),
        unit="duration",
    )
    write_idle_timeout: timedelta = setting(
        "server.write-idle-timeout",
        timedelta(minutes=60),
        "How long a client may leave what is sent to it; more than a minute is taken for a minute.",
        also=("micronaut.server.write-idle-timeout",),
        unit="duration",
    )
    cors_enabled: bool = setting(
        "server.cors.enabled",
        False,
        "Whether browsers may call the API from other origins.",
        also=("micronaut.server.cors.enabled",),
    )
    cors_configurations: Mapping[str, Any] = setting(
        "server.cors.configurations",
        _NOTHING,
        "Which origins, by configurations with names: `allowed-origins`, `allowed-origins-regex`, `allowed-methods`, "
        "`allowed-headers`, `exposed-headers`, `allow-credentials`, `max-age`. Without any, all, but without cookies.",
        also=("micronaut.server.cors.configurations",),
        shape="tree",
    )
    client_address_header: str | None = setting(
        "server.client-address-header",
        None,
        "The header in which the proxy in front names its client, such as `X-Forwarded-For`; limits on logins count "
        "for that address. Only with a proxy that always sets it.",
        also=("micronaut.server.client-address-header",),
    )
    webhook_requires_login: bool = setting(
        "server.webhook.require-authentication",
        False,
        "Whether a webhook needs a login beside its key.",
    )
    idempotency_expiration: timedelta = setting(
        "server.idempotency.expiration",
        timedelta(hours=24),
        "How long a request with an Idempotency-Key gets the answer of the first one.",
        unit="duration",
    )
    basic_auth: BasicAuth = field(default_factory=BasicAuth)
    liveness: Liveness = field(default_factory=Liveness)
    access_log: AccessLog = field(default_factory=AccessLog)
    termination_grace_period: timedelta = setting(
        "server.termination-grace-period",
        timedelta(minutes=5),
        "How long a stopping service waits for what still runs; the process manager must wait longer.",
        unit="duration",
    )
    worker_task_restart_strategy: RestartStrategy = setting(
        "server.worker-task-restart-strategy",
        RestartStrategy.AFTER_TERMINATION_GRACE_PERIOD,
        "When the task runs of a dead worker run again.",
    )
    service_retention: timedelta = setting(
        "server.service.purge.retention",
        timedelta(days=7),
        "How long a service that is gone stays in the list.",
        unit="duration",
    )
    preview_initial_rows: int = setting(
        "server.preview.initial-rows", 100, "Rows of a file's preview at first."
    )
    preview_max_rows: int = setting("server.preview.max-rows", 5000, "Rows of a file's preview at most.")


@dataclass(frozen=True, kw_only=True)
class Management:
    """The port of health, metrics and diagnosis, which every service has (MGMT-1, MGMT-7)."""

    host: str = setting("endpoints.all.host", "0.0.0.0", "The address to listen on.")  # noqa: S104 - probes and scrapers come from outside
    port: int = setting("endpoints.all.port", 8081, "The port.")
    username: str | None = setting(
        "endpoints.all.basic-auth.username", None, "Name that callers log in with."
    )
    password: str | None = setting(
        "endpoints.all.basic-auth.password", None, "Password that callers log in with.", secret=True
    )
    endpoints: Mapping[str, bool] = setting(
        "endpoints.*.enabled",
        _NOTHING,
        "Switches single endpoints off, by name: health, prometheus, loggers, env ...",
    )

    def serves(self, endpoint: str) -> bool:
        """Whether the endpoint of that name is on; all are unless switched off."""
        return self.endpoints.get(endpoint, self.endpoints.get("all", True))


@dataclass(frozen=True, kw_only=True)
class Worker:
    """The worker."""

    threads: int = setting(
        "worker.threads", 0, "Jobs that run at the same time.", shown_default="8 for each core"
    )
    group: str | None = setting("worker.group", None, "The worker group that this worker belongs to.")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The badge of the interface (KEY-16)."""

    name: str | None = setting("environment.name", None, "What the badge says (`Production`).")
    color: str | None = setting("environment.color", None, "Its colour (`#FCB37C`).")


@dataclass(frozen=True, kw_only=True)
class Webserver:
    """What the pages of the interface carry (KEY-22, KEY-23)."""

    google_analytics_id: str | None = setting(
        "webserver.google-analytics-id",
        None,
        "An id of Google Analytics.",
        also=("webserver.google-analytics",),
    )
    html_head: tuple[str, ...] = setting("webserver.html-head", (), "Lines for the head of each page.")
