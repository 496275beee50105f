"""The settings of servers reach the client of the analytics app, or are refused."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from flowtide.analytics.connection import Connection, connection
from flowtide.analytics.service import run
from flowtide.errors import SettingsError
from flowtide.settings import Settings


def reach(**properties: Any) -> Connection:
    names = {name.replace("_", "."): value for name, value in properties.items()}
    overrides = {f"kafka.client.properties.{name}": value for name, value in names.items()}
    return connection(Settings.load([], {}, overrides, cores=2))


def test_plain() -> None:
    """Without security only the brokers are named; what has no effect is told."""
    found = reach(bootstrap_servers="one:9092, two:9092", linger_ms="5")
    assert found.servers == ("one:9092", "two:9092")
    assert (found.tls, found.mechanism, found.unused) == (None, None, ("linger.ms",))


@pytest.mark.blocking
def test_log_in_over_tls() -> None:
    """Java's line of JAAS becomes user and password, and the connection is encrypted (it reads certificates)."""
    found = reach(
        bootstrap_servers="one:9092",
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_jaas_config='org.Module required username="u" password="p";',
        ssl_endpoint_identification_algorithm="",
    )
    assert (found.mechanism, found.username, found.password) == ("SCRAM-SHA-512", "u", "p")
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_REQUIRED
    assert not found.tls.check_hostname


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({}, "bootstrap.servers is missing"),
        ({"bootstrap_servers": "a", "security_protocol": "SASL_SSL", "sasl_mechanism": "GSSAPI"}, "GSSAPI"),
        ({"bootstrap_servers": "a", "ssl_key_pem": "secret"}, "ssl.key.location"),
        (
            {"bootstrap_servers": "a", "security_protocol": "SSL", "ssl_ca_location": "/none.pem"},
            "certificates",
        ),
    ],
)
@pytest.mark.blocking
def test_what_cannot_be_is_refused(properties: dict[str, str], words: str) -> None:
    """The sentence names the property and never its value (it looks for files of certificates)."""
    with pytest.raises(SettingsError) as refusal:
        reach(**properties)
    assert words in str(refusal.value)
    assert "secret" not in str(refusal.value)


async def test_the_embedded_log_is_refused() -> None:
    """The app reads Kafka, and says so before anything is started."""
    with pytest.raises(SettingsError, match=r"queue\.type.*set it to kafka"):
        await run(Settings.load([], {}, cores=2))


async def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Faust the error says what to install."""
    import sys

    from flowtide.services.ports import ExtraMissing

    monkeypatch.setitem(sys.modules, "faust", None)
    monkeypatch.delitem(sys.modules, "flowtide.analytics.app", raising=False)
    settings = Settings.load(
        [],
        {},
        {
            "queue.type": "kafka",
            "repository.type": "elasticsearch",
            "elasticsearch.client.http-hosts": "http://localhost:9200",
            "kafka.client.properties.bootstrap.servers": "localhost:9092",
        },
        cores=2,
    )
    with pytest.raises(ExtraMissing, match=r"pip install 'flowtide\[analytics\]'"):
        await run(settings)
