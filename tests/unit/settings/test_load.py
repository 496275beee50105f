"""Loading settings: sources and their order, spellings, placeholders, and what people are told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flowtide.settings import QueueType, RepositoryType, Settings, SettingsError


def load(
    text: str = "", environment: dict[str, str] | None = None, overrides: dict[str, Any] | None = None
) -> Settings:
    """Settings from a document in FLOWTIDE_CONFIGURATION, which needs no file."""
    return Settings.load(
        (), {"FLOWTIDE_CONFIGURATION": text, **(environment or {})}, overrides or {}, cores=2
    )


def problems(text: str, environment: dict[str, str] | None = None) -> str:
    """The message of the error that the settings end in."""
    with pytest.raises(SettingsError) as caught:
        load(text, environment)
    return caught.value.message


def test_defaults_need_nothing() -> None:
    """Without any source everything is embedded and no warning is told."""
    settings = Settings.load((), {"HOME": "home"}, cores=2)
    assert settings.queue.type is QueueType.EMBEDDED
    assert settings.repository.type is RepositoryType.EMBEDDED
    assert settings.data_path == Path("home/.flowtide/data")
    assert settings.storage_path == Path("home/.flowtide/data/storage")
    assert settings.worker.threads == 16
    assert (settings.server.port, settings.management.port) == (8080, 8081)
    assert settings.kafka.topic_partitions == 16
    assert settings.indexer.batch_duration == timedelta(seconds=1)
    assert settings.warnings == ()


def test_order_of_sources(tmp_path: Path) -> None:
    """Later files win over earlier ones, the whole-document variable over files, single variables over it,
    and the command line over all (CFG-2, CFG-16).
    """
    first, second = tmp_path / "first.yml", tmp_path / "second.yml"
    first.write_text(
        "flowtide: {url: first, system-flows: {namespace: kept}, regex.timeout: 1s, server: {port: 1}}"
    )
    second.write_text("flowtide: {url: second, regex.timeout: 2s, server: {port: 2}, worker: {threads: 2}}")
    environment = {
        "KESTRA_CONFIGURATION": "kestra: {regex: {timeout: 3s}, server: {port: 3}, worker: {threads: 3}}",
        "KESTRA_SERVER_PORT": "4",
        "FLOWTIDE_WORKER_THREADS": "4",
    }
    settings = Settings.load((first, second), environment, {"worker.threads": 5})
    assert settings.system_namespace == "kept"
    assert settings.url == "second"
    assert settings.regex_timeout == timedelta(seconds=3)
    assert settings.server.port == 4
    assert settings.worker.threads == 5
    assert settings.files == (first, second)


@pytest.mark.parametrize("name", [".flowtide/config.yml", ".flowtide/config.yaml", ".kestra/config.yml"])
def test_default_file(tmp_path: Path, name: str) -> None:
    """Without files named, the one in the home directory is read (CFG-3)."""
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("kestra.url: http://here/")
    assert Settings.load((), {"HOME": str(tmp_path)}).url == "http://here/"


@pytest.mark.parametrize(
    "text",
    [
        "kestra: {server: {terminationGracePeriod: PT1M}}",
        "kestra: {server: {termination-grace-period: 60s}}",
        "flowtide.server.termination_grace_period: 1m",
        "flowtide: {server.terminationGracePeriod: 60000ms}",
    ],
)
def test_spellings(text: str) -> None:
    """Kebab, camel and snake case, nested and dotted, mean the same key (CFG-6); durations may be short
    (CFG-11).
    """
    assert load(text).server.termination_grace_period == timedelta(minutes=1)


def test_our_root_wins_over_the_alias() -> None:
    """In one document `flowtide:` wins over `kestra:`, in the environment FLOWTIDE_ over KESTRA_."""
    assert load("flowtide: {url: ours}\nkestra: {url: theirs}").url == "ours"
    assert load("", {"KESTRA_URL": "theirs", "FLOWTIDE_URL": "ours"}).url == "ours"


def test_foreign_roots() -> None:
    """Keys of Micronaut that have a meaning here bind, and a later source wins whatever spelling it uses."""
    settings = load(
        "micronaut: {server: {port: 8086, context-path: kestra-prd}}\n"
        "endpoints.all: {port: 9, basic-auth: {username: u}}",
        {"ENDPOINTS_ALL_BASIC_AUTH_PASSWORD": "p"},
    )
    assert (settings.server.port, settings.server.context_path) == (8086, "/kestra-prd")
    assert (settings.management.port, settings.management.username, settings.management.password) == (
        9,
        "u",
        "p",
    )
    assert load("flowtide.server.port: 1", {"MICRONAUT_SERVER_PORT": "2"}).server.port == 2


def test_kafka_names_stay_verbatim() -> None:
    """Names below `properties` keep dots and spelling (KAFKA-1), from YAML, dotted keys and variables."""
    settings = load(
        """
kestra:
  queue.type: kafka
  repository.type: elasticsearch
  elasticsearch: {client: {http-hosts: "http://a:9200,http://b:9200"}, indices: {logs: {alias: daily}}}
  kafka:
    client.properties: {bootstrap.servers: "k:9092", Odd_Name.x: true}
    defaults: {topic: {partitions: 3}, producer: {properties: {max: {request.size: 10}}}}
    topics:
      executions.properties."retention.ms": 604800000
      a_b: {properties: {cleanup.policy: compact}, name: other}
""",
        {"KESTRA_KAFKA_CLIENT_PROPERTIES_SASL_MECHANISM": "PLAIN"},
    )
    kafka = settings.kafka
    assert kafka.client_properties == {
        "bootstrap.servers": "k:9092",
        "Odd_Name.x": "true",
        "sasl.mechanism": "PLAIN",
    }
    assert kafka.producer_properties == {"max.request.size": "10"}
    assert kafka.topic_properties == {
        "executions": {"retention.ms": "604800000"},
        "a_b": {"cleanup.policy": "compact"},
    }
    assert kafka.topic_names == {"a_b": "other"}
    assert kafka.topic_partitions == 3
    assert settings.elasticsearch.hosts == ("http://a:9200", "http://b:9200")
    assert settings.elasticsearch.rotation == {"logs": "daily"}


def test_storage_options() -> None:
    """The options of a storage are one tree in kebab-case, whatever spelling and source (CFG-5)."""
    settings = load(
        "kestra: {storage: {type: s3, s3: {accessKey: a, bucket: b}}}", {"KESTRA_STORAGE_S3_SECRET_KEY": "c"}
    )
    assert settings.storage.options == {"access-key": "a", "bucket": "b", "secret-key": "c"}


def test_placeholders() -> None:
    """`${}` takes environment variables, then settings and their defaults, then its own default (CFG-8)."""
    settings = load(
        """
flowtide:
  url: "http://${HOST_NAME:localhost}:${flowtide.server.port}/${MISSING:}"
  environment: {name: "${A:${B:x:y}}", color: "${kestra.environment.name}"}
  kafka.defaults:
    topic.replication-factor: 3
    producer.properties: {r: "${kestra.kafka.defaults.topic.replication-factor}"}
""",
        {"HOST_NAME": "h"},
    )
    assert settings.url == "http://h:8080/"
    assert (settings.environment.name, settings.environment.color) == ("x:y", "x:y")
    assert settings.kafka.producer_properties == {"r": "3"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "flowtide.url: ${NOPE}",
            "`flowtide.url` in environment variable FLOWTIDE_CONFIGURATION: the placeholder ${NOPE}",
        ),
        ("flowtide.url: ${flowtide.url}", "leads back to itself"),
        ("flowtide.url: ${open", "has no closing brace"),
        ("flowtide.server.port: many", "expected a whole number, found 'many'"),
        ("flowtide.server.port: 70000", "expected a port from 0 (any free one) to 65535"),
        ("flowtide.server.liveness.interval: 5", "expected a duration with its unit"),
        ("flowtide.server.multipart.max-file-size: lots", "expected a size in bytes"),
        ("flowtide.server.cors.enabled: perhaps", "expected true or false"),
        (
            "flowtide.server.worker-task-restart-strategy: soon",
            "expected one of AFTER_TERMINATION_GRACE_PERIOD",
        ),
        ("flowtide.queue: kafka", "expected a group of settings (type), found a value"),
        ("flowtide.queue.type: postgres", "there is no type postgres; use `embedded` on one machine"),
        ("flowtide.queue.type: carrier-pigeon", "expected one of embedded, kafka"),
        ("flowtide.queue.type: kafka", "the Kafka queue needs `flowtide.repository.type: elasticsearch`"),
        (
            "flowtide.repository.type: elasticsearch",
            "the Elasticsearch repository needs `flowtide.queue.type: kafka`",
        ),
        ("flowtide: {queue.type: kafka, repository.type: elasticsearch}", "must give `bootstrap.servers`"),
        (
            "flowtide.server.liveness: {heartbeat-interval: 45s}",
            "must be shorter than `flowtide.server.liveness.timeout`",
        ),
        ("flowtide.server.basic-auth.username: admin", "expected an e-mail address"),
        ("micronaut.server.ssl.enabled: true", "put a proxy in front of it"),
        ("flowtide: [1]", "expected a group of settings"),
        ("- a", "must be a map of settings"),
        ("a: {b", "line 1, column 6 is not valid YAML"),
    ],
)
def test_wrong_values(text: str, message: str) -> None:
    """A wrong value is an error that names the place, the key and what is expected."""
    assert message in problems(text)


def test_all_problems_at_once() -> None:
    """Every wrong value is told in one go, each with its own origin."""
    text = problems("flowtide.server.port: x", {"FLOWTIDE_WORKER_THREADS": "y"})
    assert text.startswith("2 settings are wrong:")
    assert "environment variable FLOWTIDE_WORKER_THREADS" in text


def test_secrets_stay_secret() -> None:
    """Neither an error, nor the printed value, nor the list of properties shows a secret."""
    settings = load("flowtide: {encryption.secret-key: hush, storage: {type: s3, s3: {secret-key: hush}}}")
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings.properties())
    assert settings.properties()["flowtide.encryption.secret-key"] == "****"
    assert "hush" not in problems("flowtide.encryption.secret-key: [hush]")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "flowtide.servr.port: 1",
            "is no setting and has no effect; the nearest one is `flowtide.server.port`",
        ),
        ("kestra.server.basic-auth.enabled: false", "has no effect: basic authentication is always on"),
        ("kestra.jdbc.queues.poll-size: 1", "has no effect: there is no JDBC backend"),
        ("datasources.postgres.url: x", "has no effect: there is no JDBC backend"),
        (
            "kestra.retries.attempts: 3",
            "has no effect in this version: reads of files and secrets are tried once",
        ),
        ("flowtide.queue.type: memory", "`flowtide.queue.type: memory`"),
    ],
)
def test_warnings(text: str, warning: str) -> None:
    """A key without effect is told, with the nearest one or the reason."""
    (told,) = load(text).warnings
    assert warning in told


def test_misspelt_variable_is_told_and_strangers_are_not() -> None:
    """Only a variable that nearly is one of ours deserves a warning; Kubernetes sets others that begin like
    ours.
    """
    settings = load("", {"FLOWTIDE_QUEUE_TYP": "kafka", "KESTRA_SERVICE_HOST": "10.0.0.1"})
    assert settings.warnings == (
        "environment variable FLOWTIDE_QUEUE_TYP is no setting; did you mean FLOWTIDE_QUEUE_TYPE?",
    )


def test_java_options() -> None:
    """The time zone in JAVA_OPTS is honoured below TZ; other options that have another name here are told
    (CFG-15).
    """
    settings = load("", {"JAVA_OPTS": "-Xmx1g -Duser.timezone=Europe/Paris -Dhttps.proxyHost=p"})
    assert settings.timezone == "Europe/Paris"
    assert settings.warnings == ("-Dhttps.proxyHost in JAVA_OPTS has no effect: set HTTPS_PROXY",)
    assert load("", {"JAVA_OPTS": "-Duser.timezone=Europe/Paris", "TZ": "UTC"}).timezone == "UTC"


def test_lists_and_maps() -> None:
    """Plugin defaults stay raw, globals keep their names, one string is a list of one (KEY-18, KEY-23,
    KEY-30).
    """
    settings = load(
        """
kestra:
  plugins.defaults: [{type: io.kestra, values: {retry: {maxAttempts: 3}}}]
  variables.globals: {My_Name: {a.b: 1}}
  webserver.html-head: |
    <style>
    </style>
logger.levels: {io.kestra.core.runners: TRACE, task: OFF}
endpoints: {env: {enabled: false}}
"""
    )
    assert settings.plugins.defaults == ({"type": "io.kestra", "values": {"retry": {"maxAttempts": 3}}},)
    assert settings.variables.globals == {"My_Name": {"a.b": 1}}
    assert settings.webserver.html_head == ("<style>\n</style>",)
    assert settings.logger.levels == {"io.kestra.core.runners": "TRACE", "task": "false"}
    assert not settings.management.serves("env")
    assert settings.management.serves("health")


def test_unknown_override_is_refused() -> None:
    """A slip in our own command line is an error, not a warning."""
    with pytest.raises(SettingsError, match=r"`no.such` on the command line is no setting"):
        load("", None, {"no.such": 1})


def test_files_are_deleted_only_on_demand(tmp_path: Path) -> None:
    """`configurations.delete-files-on-start` removes what was read, and nothing else does (CFG-12)."""
    kept, gone = tmp_path / "kept.yml", tmp_path / "gone.yml"
    kept.write_text("flowtide.url: a")
    gone.write_text("flowtide.configurations.delete-files-on-start: true")
    assert Settings.load((kept,), {}).delete_files() == ()
    assert Settings.load((gone,), {}).delete_files() == (gone,)
    assert (kept.exists(), gone.exists()) == (True, False)


def test_missing_file() -> None:
    """A file that is not there is an error that names it."""
    with pytest.raises(SettingsError, match=r"nowhere.yml cannot be read: No such file"):
        Settings.load((Path("nowhere.yml"),), {})


def test_the_former_switch_of_volumes_works() -> None:
    """F06, KEY-71: it is read, and the operator is told of its successor."""
    settings = load("kestra: {tasks: {scripts: {docker: {volume-enabled: true}}}}")
    assert settings.tasks.docker_volumes
    (warning,) = settings.warnings
    assert "plugin configuration `volume-enabled`" in warning
