"""Client properties: what people write, by the names of Java's clients or librdkafka's, as librdkafka takes
them.

Comes in: the `properties` maps of the settings (KAFKA-1, -2, -6, -7).  Goes out: a configuration, or an error
that names the property and what to do.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from flowtide.errors import LogUnavailable

# Java's name -> librdkafka's.
_RENAMED = {
    "max.request.size": "message.max.bytes",
    "buffer.memory": None,
    "max.poll.records": None,  # the runtime takes what is there
    "key.serializer": None,
    "value.serializer": None,
    "key.deserializer": None,
    "value.deserializer": None,
    "default.api.timeout.ms": None,
    "request.timeout.ms": None,
    "max.block.ms": None,
    "delivery.timeout.ms": "message.timeout.ms",
    "ssl.truststore.location": "ssl.ca.location",
    "ssl.truststore.password": None,  # only certificates in PEM files are read, and these have none
    "ssl.truststore.type": None,
    "ssl.keystore.type": None,
    "client.dns.lookup": "client.dns.lookup",
    "sasl.login.callback.handler.class": None,
}
_CREDENTIAL = re.compile(r'\b(username|password)\s*=\s*"((?:[^"\\]|\\.)*)"')


def client_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """The properties as librdkafka takes them.  Raises LogUnavailable for those that it cannot honour."""
    translated: dict[str, str] = {}
    for name, value in properties.items():
        if name == "sasl.jaas.config":
            translated.update(_credentials(value))
        elif name == "ssl.truststore.location" and value.lower().endswith((".jks", ".p12", ".pfx")):
            raise LogUnavailable(
                f"kafka client property {name}: {value} is a Java key store; export the certificates to a "
                "PEM file (keytool -exportcert -rfc) and name that file in ssl.ca.location"
            )
        elif name == "ssl.keystore.location" and value.lower().endswith(".jks"):
            raise LogUnavailable(
                f"kafka client property {name}: {value} is a Java key store; convert it "
                "(keytool -importkeystore -deststoretype PKCS12) and name the new file"
            )
        elif name == "ssl.endpoint.identification.algorithm" and not value:
            translated[name] = "none"
        elif name not in _RENAMED:
            translated[name] = value
        else:
            renamed = _RENAMED[name]
            if renamed is not None:
                translated[renamed] = value
    if "bootstrap.servers" not in translated:
        raise LogUnavailable("the kafka client property bootstrap.servers is missing: name a broker")
    return translated


def _credentials(jaas: str) -> dict[str, str]:
    found = dict(_CREDENTIAL.findall(jaas))
    if not {"username", "password"} <= found.keys():
        raise LogUnavailable(
            "kafka client property sasl.jaas.config has no username and password; for other ways to log in use "
            "librdkafka's properties, such as sasl.oauthbearer.config"
        )
    return {f"sasl.{name}": re.sub(r"\\(.)", r"\1", value) for name, value in found.items()}
