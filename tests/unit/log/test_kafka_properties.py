"""Client properties of Java's clients become librdkafka's."""

from __future__ import annotations

import pytest

from flowtide.errors import LogUnavailable
from flowtide.log.kafka.properties import client_properties

_SERVERS = {"bootstrap.servers": "b:9092"}


@pytest.mark.parametrize(
    ("java", "librdkafka"),
    [
        ({"max.request.size": "10485760"}, {"message.max.bytes": "10485760"}),
        ({"key.serializer": "x.StringSerializer"}, {}),
        ({"ssl.endpoint.identification.algorithm": ""}, {"ssl.endpoint.identification.algorithm": "none"}),
        (
            {
                "ssl.keystore.location": "/etc/k.p12",
                "ssl.keystore.type": "PKCS12",
                "ssl.keystore.password": "p",
            },
            {"ssl.keystore.location": "/etc/k.p12", "ssl.keystore.password": "p"},
        ),
        ({"ssl.truststore.location": "/etc/ca.pem"}, {"ssl.ca.location": "/etc/ca.pem"}),
        (
            {
                "sasl.mechanism": "PLAIN",
                "sasl.jaas.config": (
                    "org.apache.kafka.common.security.plain.PlainLoginModule required "
                    'username="ann" password="a\\"b";'
                ),
            },
            {"sasl.mechanism": "PLAIN", "sasl.username": "ann", "sasl.password": 'a"b'},
        ),
        ({"acks": "all", "compression.type": "lz4"}, {"acks": "all", "compression.type": "lz4"}),
    ],
)
def test_java_names_are_understood(java: dict[str, str], librdkafka: dict[str, str]) -> None:
    """KAFKA-1, KAFKA-2, KAFKA-7: dotted names, verbatim where both agree."""
    assert client_properties({**_SERVERS, **java}) == {**_SERVERS, **librdkafka}


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({}, "bootstrap.servers is missing"),
        ({**_SERVERS, "ssl.truststore.location": "/etc/trust.jks"}, "export the certificates to a PEM file"),
        ({**_SERVERS, "ssl.keystore.location": "/etc/key.jks"}, "PKCS12"),
        ({**_SERVERS, "sasl.jaas.config": "Krb5LoginModule required;"}, "no username and password"),
    ],
)
def test_what_cannot_be_honoured_is_refused(properties: dict[str, str], text: str) -> None:
    """The error names the property and what to do."""
    with pytest.raises(LogUnavailable, match=text):
        client_properties(properties)
