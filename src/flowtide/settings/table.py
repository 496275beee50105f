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
from flowtide.settings.mail import Mail
from flowtide.settings.outbound import Outbound
from flowtide.settings.security import Security
from flowtide.settings.servers import (
    Environment,
    Management,
    Server,
    Webserver,
    Worker,
)
from flowtide.settings.state import KeyValueStore, LocalFiles
from flowtide.settings.systems import (
    Elasticsearch,
    Indexer,
    Kafka,
    Queue,
    Repository,
    Storage,
)

_NOTHING: Mapping[str, Any] = MappingProxyType({})


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
    former_secret_keys: tuple[str, ...] = setting(
        "encryption.former-secret-keys",
        (),
        "Keys that `encryption.secret-key` was before: what they encrypted can still be read. Secrets are encrypted "
        "with the present key by `POST /api/v1/instance/secrets/encrypt-again`.",
        secret=True,
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
        "secret.read-only",
        False,
        "Whether the API refuses to change secrets; always with `file` and `environment`.",
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
    mail: Mail = field(default_factory=Mail)
    outbound: Outbound = field(default_factory=Outbound)
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
