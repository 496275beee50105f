"""Kafka's Java names become librdkafka's (KAFKA-2)."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore
from cryptography.x509.oid import NameOID

from flowtide.settings import SettingsError, kafka_client_properties


@pytest.fixture(scope="module")
def certificate() -> x509.Certificate:
    """A certificate of an authority of our own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )


def test_names() -> None:
    """Renamed, reshaped and Java-only names are translated; others pass."""
    assert kafka_client_properties(
        {
            "bootstrap.servers": "a:1",
            "max.request.size": "10485760",
            "fetch.max.wait.ms": 5,
            "enable.auto.commit": False,
            "buffer.memory": 33554432,
            "key.serializer": "org.apache.kafka.common.serialization.StringSerializer",
            "ssl.endpoint.identification.algorithm": "",
            "partition.assignment.strategy": "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        }
    ) == {
        "bootstrap.servers": "a:1",
        "message.max.bytes": "10485760",
        "fetch.wait.max.ms": "5",
        "enable.auto.commit": "false",
        "queue.buffering.max.kbytes": "32768",
        "ssl.endpoint.identification.algorithm": "none",
        "partition.assignment.strategy": "cooperative-sticky",
    }


def test_jaas() -> None:
    """The login of a JAAS line becomes user and password, quotes and escapes undone."""
    line = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="p\\"; q";'
    assert kafka_client_properties({"sasl.jaas.config": line}) == {
        "sasl.username": "u",
        "sasl.password": 'p"; q',
    }
    with pytest.raises(SettingsError, match="holds no username and password"):
        kafka_client_properties({"sasl.jaas.config": "x.OAuthBearerLoginModule required;"})


def test_keystores() -> None:
    """PKCS12 passes, PEM becomes two locations, JKS is refused with the command that converts it."""
    store = {"ssl.keystore.location": "a.p12", "ssl.keystore.password": "p", "ssl.keystore.type": "PKCS12"}
    assert kafka_client_properties(store) == {"ssl.keystore.location": "a.p12", "ssl.keystore.password": "p"}
    assert kafka_client_properties({"ssl.keystore.location": "a.pem"}) == {
        "ssl.certificate.location": "a.pem",
        "ssl.key.location": "a.pem",
    }
    with pytest.raises(SettingsError, match=r"keytool -importkeystore -srckeystore a\.jks"):
        kafka_client_properties({"ssl.keystore.location": "a.jks"})


def test_pkcs12_truststore(certificate: x509.Certificate) -> None:
    """A truststore of Java in PKCS12 becomes PEM; a wrong password is told as such."""
    content = serialize_java_truststore(
        [PKCS12Certificate(certificate, b"ca")], BestAvailableEncryption(b"p")
    )
    properties = {"ssl.truststore.location": "t.p12", "ssl.truststore.password": "p"}
    translated = kafka_client_properties(properties, read=lambda _: content)
    assert translated == {"ssl.ca.pem": certificate.public_bytes(Encoding.PEM).decode()}
    with pytest.raises(SettingsError, match=r"`ssl\.truststore\.password` is wrong"):
        kafka_client_properties({**properties, "ssl.truststore.password": "x"}, read=lambda _: content)


def test_jks_truststore(certificate: x509.Certificate) -> None:
    """A truststore in JKS becomes PEM; one with keys or without an end is refused."""
    der = certificate.public_bytes(Encoding.DER)
    entry = (
        struct.pack(">IH", 2, 2)
        + b"ca"
        + struct.pack(">QH", 0, 5)
        + b"X.509"
        + struct.pack(">I", len(der))
        + der
    )
    content = struct.pack(">III", 0xFEEDFEED, 2, 1) + entry + bytes(20)
    properties = {"ssl.truststore.location": "t.jks", "ssl.truststore.password": "p"}
    translated = kafka_client_properties(properties, read=lambda _: content)
    assert translated == {"ssl.ca.pem": certificate.public_bytes(Encoding.PEM).decode()}
    keys = content[:12] + struct.pack(">I", 1) + content[16:]
    with pytest.raises(SettingsError, match=r"t\.jks is no JKS truststore"):
        kafka_client_properties(properties, read=lambda _: keys)
    with pytest.raises(SettingsError, match=r"t\.jks is no JKS truststore"):
        kafka_client_properties(properties, read=lambda _: content[:40])


def test_truststore_that_is_not_there() -> None:
    """The message names the file."""
    with pytest.raises(SettingsError, match=r"nowhere.jks cannot be read: No such file"):
        kafka_client_properties({"ssl.truststore.location": str(Path("nowhere.jks"))})
