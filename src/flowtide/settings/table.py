"""The one table of settings: every group and field with key, default, unit and help, as frozen values.

`docs/reference/settings.md` is generated from here and the loader reads it; nothing is described twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flowtide.settings.fields import setting
from flowtide.settings.security import Security
from flowtide.settings.state import KeyValueStore, LocalFiles

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class QueueType(StrEnum):
    """Where records travel."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


class RepositoryType(StrEnum):
    """Where the search index lives."""

    EMBEDDED = "embedded"
    ELASTICSEARCH = "elasticsearch"


class RestartStrategy(StrEnum):
    """When the task runs of a dead worker are handed out again (LIFE-8)."""

    AFTER_TERMINATION_GRACE_PERIOD = "AFTER_TERMINATION_GRACE_PERIOD"
    IMMEDIATELY = "IMMEDIATELY"
    NEVER = "NEVER"


class TraceLevel(StrEnum):
    """Whether spans are made (OTEL-4)."""

    DEFAULT = "DEFAULT"
    DISABLED = "DISABLED"


class LogFormat(StrEnum):
    """How a line of the server's log looks (LOG-5)."""

    PLAIN = "plain"
    JSON = "json"
    ECS = "ecs"
    GCP = "gcp"


class Rotation(StrEnum):
    """How often an index starts anew behind its alias (ES-5)."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"


@dataclass(frozen=True, kw_only=True)
class Queue:
    """The log."""

    type: QueueType = setting(
        "queue.type",
        QueueType.EMBEDDED,
        "Where records travel: in a file of this machine, or on Kafka. Goes together with `repository.type`.",
    )


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The search index."""

    type: RepositoryType = setting(
        "repository.type",
        RepositoryType.EMBEDDED,
        "Where the search index lives: `embedded` with the embedded queue, else `elasticsearch` (DATA-7).",
    )


@dataclass(frozen=True, kw_only=True)
class LocalStorage:
    """Files in a folder."""

    base_path: Path | None = setting(
        "storage.local.base-path", None, "The folder of files.", shown_default="`storage` in `data-path`"
    )


@dataclass(frozen=True, kw_only=True)
class StorageIsolation:
    """Which services may not read files (STOR-9)."""

    enabled: bool = setting(
        "storage.isolation.enabled", False, "Whether the services below are kept from the content of files."
    )
    denied_services: tuple[str, ...] = setting(
        "storage.isolation.denied-services",
        (),
        "Service types that may carry URIs of files and not read them.",
    )


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The internal storage (STOR-1..9)."""

    type: str = setting("storage.type", "local", "The kind of storage: `local`, or one that a plugin brings.")
    local: LocalStorage = field(default_factory=LocalStorage)
    isolation: StorageIsolation = field(default_factory=StorageIsolation)
    backends: Mapping[str, Mapping[str, Any]] = setting(
        "storage.*",
        _NOTHING,
        "The options of each kind of storage, by its name; what they are stands at the storage plugin.",
        shape="tree",
        secret=True,
    )

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the chosen type, keys in kebab-case."""
        return self.backends.get(self.type, _NOTHING)


@dataclass(frozen=True, kw_only=True)
class MessageProtection:
    """Refusing records that are too large (KAFKA-12)."""

    enabled: bool = setting(
        "kafka.message-protection.enabled", True, "Whether records above the limit are refused."
    )
    limit_bytes: int = setting(
        "kafka.message-protection.limit", 1024 * 1024, "The largest record that is sent.", unit="bytes"
    )


@dataclass(frozen=True, kw_only=True)
class Kafka:
    """Kafka (A §3). The property maps hold Kafka's own dotted names, and keep them."""

    client_properties: Mapping[str, str] = setting(
        "kafka.client.properties",
        _NOTHING,
        "Properties of every client; `bootstrap.servers` is needed. Java's SSL and SASL names work.",
        shape="verbatim",
        secret=True,
    )
    topic_partitions: int = setting(
        "kafka.defaults.topic.partitions",
        16,
        "Partitions of a new topic; more instances of a service than this bring nothing.",
    )
    topic_replication_factor: int = setting(
        "kafka.defaults.topic.replication-factor", 1, "Copies of a new topic; 3 where a broker may die."
    )
    topic_prefix: str = setting(
        "kafka.defaults.topic-prefix", "flowtide_", "What the name of each topic starts with."
    )
    consumer_prefix: str = setting(
        "kafka.defaults.consumer-prefix", "flowtide", "What the name of each consumer group starts with."
    )
    producer_properties: Mapping[str, str] = setting(
        "kafka.defaults.producer.properties",
        _NOTHING,
        "Properties of producers, over those of every client.",
        shape="verbatim",
        secret=True,
    )
    consumer_properties: Mapping[str, str] = setting(
        "kafka.defaults.consumer.properties",
        _NOTHING,
        "Properties of consumers, over those of every client.",
        shape="verbatim",
        secret=True,
    )
    topic_properties: Mapping[str, Mapping[str, str]] = setting(
        "kafka.topics.*.properties",
        _NOTHING,
        "Kafka's properties of single topics, by the topic's name without its prefix (`retention.ms` ...).",
        also=("kafka.defaults.topics.*.properties",),
        shape="verbatim",
    )
    topic_names: Mapping[str, str] = setting(
        "kafka.topics.*.name",
        _NOTHING,
        "Another full name for single topics, by the name without its prefix.",
        also=("kafka.defaults.topics.*.name",),
    )
    message_protection: MessageProtection = field(default_factory=MessageProtection)


@dataclass(frozen=True, kw_only=True)
class Elasticsearch:
    """Elasticsearch or OpenSearch (A §4)."""

    hosts: tuple[str, ...] = setting(
        "elasticsearch.client.http-hosts",
        (),
        "Addresses of the cluster, one or a list (`http://localhost:9200`).",
    )
    username: str | None = setting("elasticsearch.client.basic-auth.username", None, "Name to log in with.")
    password: str | None = setting(
        "elasticsearch.client.basic-auth.password", None, "Password to log in with.", secret=True
    )
    trust_all_ssl: bool = setting(
        "elasticsearch.client.trust-all-ssl", False, "Accept any certificate; for clusters of a developer."
    )
    index_prefix: str = setting(
        "elasticsearch.defaults.indice-prefix",
        "flowtide_",
        "What the name of each index starts with.",
        also=("elasticsearch.defaults.index-prefix",),
    )
    index_settings: Mapping[str, str] = setting(
        "elasticsearch.defaults.indices",
        _NOTHING,
        "Settings of each index, by Elasticsearch's dotted names (`index.number_of_replicas`).",
        shape="verbatim",
    )
    rotation: Mapping[str, Rotation] = setting(
        "elasticsearch.indices.*.alias",
        _NOTHING,
        "How often `executions`, `logs` and `metrics` start a new index: daily, weekly, monthly or yearly.",
    )


@dataclass(frozen=True, kw_only=True)
class Indexer:
    """Copying records to the index (ES-7)."""

    batch_size: int = setting("indexer.batch-size", 500, "Documents in a batch at most.")
    batch_duration: timedelta = setting(
        "indexer.batch-duration",
        timedelta(seconds=1),
        "How long a batch that is not full waits.",
        unit="duration",
    )


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
    cors_enabled: bool = setting(
        "server.cors.enabled",
        False,
        "Whether browsers may call the API from other origins.",
        also=("micronaut.server.cors.enabled",),
    )
    webhook_requires_login: bool = setting(
        "server.webhook.require-authentication",
        False,
        "Whether a webhook needs a login beside its key.",
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
class Variables:
    """What expressions see (KEY-17..20)."""

    env_vars_prefix: str = setting(
        "variables.env-vars-prefix",
        "ENV_",
        "Environment variables with this beginning are seen as `envs.*`; empty: all.",
    )
    globals: Mapping[str, Any] = setting(
        "variables.globals", _NOTHING, "What all flows see as `globals.*`.", shape="verbatim"
    )
    recursive_rendering: bool = setting(
        "variables.recursive-rendering", False, "Whether the result of an expression is rendered again."
    )
    cache_enabled: bool = setting("variables.cache-enabled", True, "Whether compiled expressions are kept.")
    cache_size: int = setting("variables.cache-size", 1000, "Compiled expressions that are kept at most.")


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


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Prometheus metrics (KEY-26, KEY-27)."""

    prefix: str = setting("metrics.prefix", "kestra", "What the name of each metric starts with.")
    labels: tuple[str, ...] = setting(
        "metrics.labels", (), "Labels of executions that become labels of metrics, as `label_NAME`."
    )


@dataclass(frozen=True, kw_only=True)
class Traces:
    """Which spans are made (KEY-28)."""

    root: TraceLevel = setting(
        "traces.root", TraceLevel.DEFAULT, "Whether flows make spans; the API always does."
    )
    categories: Mapping[str, TraceLevel] = setting(
        "traces.categories",
        _NOTHING,
        "The same for single parts, by the name of their class.",
        shape="verbatim",
    )


@dataclass(frozen=True, kw_only=True)
class OpenTelemetry:
    """Where spans go (KEY-68)."""

    enabled: bool = setting("micronaut.otel.enabled", False, "Whether traces are on.", also=("otel.enabled",))
    exporter: str = setting("otel.traces.exporter", "otlp", "How spans are sent: `otlp`, or `none`.")
    endpoint: str = setting(
        "otel.exporter.otlp.endpoint", "http://localhost:4317", "The collector's address, gRPC."
    )
    service_name: str = setting("otel.service.name", "flowtide", "The name that spans carry.")


@dataclass(frozen=True, kw_only=True)
class Logger:
    """The server's log (LOG-1..5)."""

    levels: Mapping[str, str] = setting(
        "logger.levels",
        _NOTHING,
        "The level of each logger: TRACE, DEBUG, INFO, WARN, ERROR or OFF. Loggers are named as Kestra's "
        "(`io.kestra.core.runners`), as ours (`flowtide.log`), or `execution`, `task` or `trigger` (LOG-3).",
        shape="verbatim",
    )
    format: LogFormat = setting(
        "logger.format", LogFormat.PLAIN, "How a line looks: plain, json, ecs or gcp."
    )


@dataclass(frozen=True, kw_only=True)
class Retries:
    """Trying again at storage and secret managers; not tasks (KEY-34)."""

    attempts: int = setting("retries.attempts", 5, "Attempts at most.")
    delay: timedelta = setting(
        "retries.delay", timedelta(seconds=1), "Wait after the first.", unit="duration"
    )
    max_delay: timedelta | None = setting("retries.max-delay", None, "The longest wait.", unit="duration")
    multiplier: float = setting(
        "retries.multiplier", 2.0, "How much longer each wait is than the one before."
    )


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """What all tasks share (KEY-35, CFG-13)."""

    tmp_dir: Path | None = setting(
        "tasks.tmp-dir.path",
        None,
        "Where the working folders of tasks are made.",
        shown_default="the system's folder for temporary files",
    )
    docker_volumes: bool = setting(
        "tasks.scripts.docker.volume-enabled",
        False,
        "Deprecated: the plugin configuration `volume-enabled` of the Docker runner.",
    )
    sdk_username: str | None = setting(
        "tasks.sdk.authentication.username", None, "Login of tasks that call the API."
    )
    sdk_password: str | None = setting(
        "tasks.sdk.authentication.password", None, "Its password.", secret=True
    )
    sdk_token: str | None = setting(
        "tasks.sdk.authentication.token", None, "A token in their place.", secret=True
    )


@dataclass(frozen=True, kw_only=True)
class Plugins:
    """Plugins (KEY-30, KEY-31)."""

    path: Path | None = setting("plugins.path", None, "A folder whose Python packages are plugins.")
    defaults: tuple[Mapping[str, Any], ...] = setting(
        "plugins.defaults", (), "Default properties of types: a list of `type`, `values` and `forced`."
    )
    configurations: tuple[Mapping[str, Any], ...] = setting(
        "plugins.configurations",
        (),
        "Switches of types that flows cannot set: a list of `type` and `values`.",
    )


@dataclass(frozen=True, kw_only=True)
class Templates:
    """The deprecated templates (FLW-17)."""

    enabled: bool = setting(
        "templates.enabled", False, "Whether the deprecated templates, and tasks of type Template, work."
    )


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """The deprecated listeners of flows (FLW-16)."""

    enabled: bool = setting("listeners.enabled", False, "Whether the deprecated `listeners` of flows run.")


@dataclass(frozen=True, kw_only=True)
class Encryption:
    """Encryption of secret inputs and outputs (KEY-40)."""

    secret_key: str | None = setting(
        "encryption.secret-key", None, "32 bytes in base64; without it SECRET inputs fail.", secret=True
    )


@dataclass(frozen=True, kw_only=True)
class Secret:
    """Where `secret()` looks (SECR-*)."""

    type: str = setting(
        "secret.type",
        "embedded",
        "The kind of backend: `embedded` (also called `elasticsearch` and `jdbc`) keeps secrets encrypted beside "
        "everything else that is saved; `file` is an encrypted file (by default `secrets.json` in `data-path`) that "
        "`flowtide secrets` writes. What they do not have is looked up in the environment, `SECRET_NAME` in base64, "
        "where `environment` alone looks.",
    )
    read_only: bool = setting(
        "secret.read-only", False, "Whether the API refuses to change secrets; always with `file` and `environment`."
    )
    backends: Mapping[str, Mapping[str, Any]] = setting(
        "secret.*", _NOTHING, "The options of each kind, by its name.", shape="tree", secret=True
    )

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the chosen type, keys in kebab-case."""
        return self.backends.get(self.type, _NOTHING)


@dataclass(frozen=True, kw_only=True)
class Configurations:
    """The files of settings themselves (CFG-12)."""

    delete_files_on_start: bool = setting(
        "configurations.delete-files-on-start",
        False,
        "Remove the files after the start, so that no task reads them.",
    )


@dataclass(frozen=True, kw_only=True)
class Table:
    """All groups; `flowtide.settings.Settings` adds how they are loaded."""

    url: str | None = setting(
        "url", None, "The public address, for links in messages (`https://host/path/`)."
    )
    data_path: Path = setting(
        "data-path",
        Path("~/.flowtide/data"),
        "The folder of the embedded log, index and files. It stands beside the default file of settings, not "
        "in the working folder, so that the data does not depend on where a command was started.",
    )
    timezone: str | None = setting(
        "timezone",
        None,
        "The time zone of schedules without one and of the log.",
        shown_default="`TZ`, `-Duser.timezone` in `JAVA_OPTS`, or the system's",
    )
    queue: Queue = field(default_factory=Queue)
    repository: Repository = field(default_factory=Repository)
    storage: Storage = field(default_factory=Storage)
    kafka: Kafka = field(default_factory=Kafka)
    elasticsearch: Elasticsearch = field(default_factory=Elasticsearch)
    indexer: Indexer = field(default_factory=Indexer)
    server: Server = field(default_factory=Server)
    management: Management = field(default_factory=Management)
    worker: Worker = field(default_factory=Worker)
    variables: Variables = field(default_factory=Variables)
    local_files: LocalFiles = field(default_factory=LocalFiles)
    kv: KeyValueStore = field(default_factory=KeyValueStore)
    environment: Environment = field(default_factory=Environment)
    webserver: Webserver = field(default_factory=Webserver)
    metrics: Metrics = field(default_factory=Metrics)
    traces: Traces = field(default_factory=Traces)
    otel: OpenTelemetry = field(default_factory=OpenTelemetry)
    logger: Logger = field(default_factory=Logger)
    retries: Retries = field(default_factory=Retries)
    tasks: Tasks = field(default_factory=Tasks)
    plugins: Plugins = field(default_factory=Plugins)
    templates: Templates = field(default_factory=Templates)
    listeners: Listeners = field(default_factory=Listeners)
    encryption: Encryption = field(default_factory=Encryption)
    secret: Secret = field(default_factory=Secret)
    security: Security = field(default_factory=Security)
    configurations: Configurations = field(default_factory=Configurations)
    regex_timeout: timedelta = setting(
        "regex.timeout",
        timedelta(seconds=10),
        "How long a regular expression of a flow may search.",
        unit="duration",
    )
    system_namespace: str = setting("system-flows.namespace", "system", "The namespace of system flows.")
    tutorial_flows: bool = setting(
        "tutorial-flows.enabled", True, "Whether the tutorial's flows are installed."
    )
    hidden_label_prefixes: tuple[str, ...] = setting(
        "hidden-labels.prefixes", ("system.",), "Labels with these beginnings are not shown."
    )
