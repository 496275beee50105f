"""From Kafka's Java names to librdkafka's (KAFKA-2): properties as operators write them go in, what
confluent-kafka takes comes out. A pure function but for reading the truststore it is pointed at.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowtide.errors import SettingsError

if TYPE_CHECKING:  # cryptography is loaded only where a truststore is read; every start would pay for it
    from cryptography import x509

_RENAMED = {
    "max.request.size": "message.max.bytes",
    "fetch.max.wait.ms": "fetch.wait.max.ms",
    "receive.buffer.bytes": "socket.receive.buffer.bytes",
    "send.buffer.bytes": "socket.send.buffer.bytes",
    "ssl.keystore.key": "ssl.key.pem",
    "ssl.keystore.certificate.chain": "ssl.certificate.pem",
    "ssl.truststore.certificates": "ssl.ca.pem",
}

#: Names that say something to Java's client only, and whose absence changes nothing.
_JAVA_ONLY = frozenset(
    {
        "key.serializer",
        "value.serializer",
        "key.deserializer",
        "value.deserializer",
        "default.api.timeout.ms",
        "max.block.ms",
        "max.poll.records",
        "metric.reporters",
        "metrics.num.samples",
        "metrics.recording.level",
        "metrics.sample.window.ms",
        "security.providers",
        "ssl.enabled.protocols",
        "ssl.keymanager.algorithm",
        "ssl.protocol",
        "ssl.provider",
        "ssl.secure.random.implementation",
        "ssl.trustmanager.algorithm",
        "sasl.client.callback.handler.class",
    }
)
_STORES = frozenset(
    {
        "ssl.keystore.location",
        "ssl.keystore.password",
        "ssl.keystore.type",
        "ssl.truststore.location",
        "ssl.truststore.password",
        "ssl.truststore.type",
    }
)
_ASSIGNORS = {
    "org.apache.kafka.clients.consumer.RangeAssignor": "range",
    "org.apache.kafka.clients.consumer.RoundRobinAssignor": "roundrobin",
    "org.apache.kafka.clients.consumer.CooperativeStickyAssignor": "cooperative-sticky",
}
_JAAS_OPTION = re.compile(r"""(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s;]+))""")
_JKS_MAGIC = 0xFEEDFEED
_JKS_CERTIFICATE = 2


def kafka_client_properties(
    properties: Mapping[str, Any], *, read: Callable[[Path], bytes] = Path.read_bytes
) -> dict[str, str]:
    """The properties under the names and in the shapes that librdkafka knows; unknown names pass as they are.

    A PKCS12 keystore passes (librdkafka reads it); truststores in PKCS12 or JKS become PEM; a JAAS line
    becomes user and password. Raises SettingsError for a keystore in JKS, which only Java can open, and for
    stores that cannot be read.
    """
    result: dict[str, str] = {}
    for name, given in properties.items():
        value = (
            "true" if given is True else "false" if given is False else "" if given is None else str(given)
        )
        if name in _JAVA_ONLY or name in _STORES:
            continue
        if name == "ssl.endpoint.identification.algorithm":
            result[name] = value or "none"
        elif name == "sasl.jaas.config":
            result.update(_jaas(value))
        elif name == "partition.assignment.strategy":
            result[name] = ",".join(_ASSIGNORS.get(part.strip(), part.strip()) for part in value.split(","))
        elif name == "buffer.memory":
            result["queue.buffering.max.kbytes"] = str(max(1, int(value) // 1024))
        else:
            result[_RENAMED.get(name, name)] = value
    result.update(_keystore(properties))
    result.update(_truststore(properties, read))
    return result


def _jaas(line: str) -> dict[str, str]:
    options = {
        name: quoted.replace('\\"', '"').replace("\\\\", "\\") or single or bare
        for name, quoted, single, bare in _JAAS_OPTION.findall(line)
    }
    if "username" not in options or "password" not in options:
        problem = (
            "`sasl.jaas.config` holds no username and password; other login modules are set by "
            "librdkafka's own names (sasl.mechanism, sasl.oauthbearer.* ...)"
        )
        raise SettingsError([problem])
    return {"sasl.username": options["username"], "sasl.password": options["password"]}


def _kind(properties: Mapping[str, Any], store: str) -> str:
    given = str(properties.get(f"ssl.{store}.type", "")).upper()
    if given:
        return given
    suffix = Path(str(properties.get(f"ssl.{store}.location", ""))).suffix.lower()
    return {".p12": "PKCS12", ".pfx": "PKCS12", ".pem": "PEM", ".crt": "PEM"}.get(suffix, "JKS")


def _keystore(properties: Mapping[str, Any]) -> dict[str, str]:
    location = properties.get("ssl.keystore.location")
    if not location:
        return {}
    kind = _kind(properties, "keystore")
    if kind == "PEM":
        return {"ssl.certificate.location": str(location), "ssl.key.location": str(location)}
    if kind != "PKCS12":
        problem = (
            f"`ssl.keystore.location`: the keystore {location} is {kind}, which only Java can open; "
            f"convert it with `keytool -importkeystore -srckeystore {location} -destkeystore keystore.p12 "
            "-deststoretype PKCS12` and set `ssl.keystore.type: PKCS12`"
        )
        raise SettingsError([problem])
    return {
        "ssl.keystore.location": str(location),
        "ssl.keystore.password": str(properties.get("ssl.keystore.password", "")),
    }


def _truststore(properties: Mapping[str, Any], read: Callable[[Path], bytes]) -> dict[str, str]:
    location = properties.get("ssl.truststore.location")
    if not location:
        return {}
    kind = _kind(properties, "truststore")
    if kind == "PEM":
        return {"ssl.ca.location": str(location)}
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        content = read(Path(str(location)))
        # Java opens either kind under either name, so the content decides
        if content[:4] == struct.pack(">I", _JKS_MAGIC):
            certificates = _jks_certificates(content)
        else:
            certificates = _pkcs12_certificates(content, str(properties.get("ssl.truststore.password", "")))
    except OSError as error:
        raise SettingsError(
            [f"`ssl.truststore.location`: {location} cannot be read: {error.strerror}"]
        ) from error
    except (ValueError, struct.error, IndexError) as error:
        problem = (
            f"`ssl.truststore.location`: {location} is no {kind} truststore, "
            "or `ssl.truststore.password` is wrong"
        )
        raise SettingsError([problem]) from error
    if not certificates:
        raise SettingsError([f"`ssl.truststore.location`: {location} holds no certificate"])
    return {"ssl.ca.pem": "".join(part.public_bytes(Encoding.PEM).decode() for part in certificates)}


def _pkcs12_certificates(content: bytes, password: str) -> list[x509.Certificate]:
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    store = load_pkcs12(content, password.encode() or None)
    found = [store.cert, *store.additional_certs] if store.cert is not None else list(store.additional_certs)
    return [part.certificate for part in found]


def _jks_certificates(content: bytes) -> list[x509.Certificate]:
    """The trusted certificates of a JKS file; they stand in clear, only its checksum needs the password."""
    from cryptography import x509

    version, count = struct.unpack_from(">II", content, 4)
    position = 12
    certificates = []
    for _ in range(count):
        (tag,) = struct.unpack_from(">I", content, position)
        if tag != _JKS_CERTIFICATE:
            raise ValueError("the file holds keys")
        (length,) = struct.unpack_from(">H", content, position + 4)
        position += 6 + length + 8  # the alias and the date
        if version > 1:
            (length,) = struct.unpack_from(">H", content, position)
            position += 2 + length  # the kind of certificate, always X.509
        (length,) = struct.unpack_from(">I", content, position)
        certificates.append(x509.load_der_x509_certificate(content[position + 4 : position + 4 + length]))
        position += 4 + length
    return certificates
