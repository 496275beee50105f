"""How the analytics app reaches Kafka: the settings of the servers in, what Faust's client wants out.

Faust stands on aiokafka, which has no names of librdkafka or Java: addresses, encryption and log-in are translated,
what cannot be is refused with what to do, and tuning of librdkafka is passed over and named.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flowtide.errors import SettingsError
from flowtide.settings import Settings, kafka_client_properties

_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_USED = frozenset(
    {
        "bootstrap.servers",
        "enable.ssl.certificate.verification",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.password",
        "sasl.username",
        "security.protocol",
        "ssl.ca.location",
        "ssl.ca.pem",
        "ssl.certificate.location",
        "ssl.endpoint.identification.algorithm",
        "ssl.key.location",
        "ssl.key.password",
    }
)
_REFUSED = {
    "ssl.keystore.location": "set ssl.certificate.location and ssl.key.location to PEM files instead",
    "ssl.certificate.pem": "write it to a file and set ssl.certificate.location instead",
    "ssl.key.pem": "write it to a file and set ssl.key.location instead",
}


@dataclass(frozen=True, kw_only=True)
class Connection:
    """What the client needs."""

    servers: tuple[str, ...]  # host:port
    tls: ssl.SSLContext | None  # None: not encrypted
    mechanism: str | None  # of SASL; None: no log-in
    username: str
    password: str
    unused: tuple[str, ...]  # names of properties that have no effect here


def connection(settings: Settings) -> Connection:
    """Translate `kafka.client.properties`.  Raises SettingsError for what the analytics app cannot do."""
    properties = kafka_client_properties(settings.kafka.client_properties)
    problems = [
        f"`kafka.client.properties`: the analytics app cannot use {name}; {advice}"
        for name, advice in _REFUSED.items()
        if properties.get(name)
    ]
    servers = tuple(
        part.strip() for part in properties.get("bootstrap.servers", "").split(",") if part.strip()
    )
    if not servers:
        problems.append("`kafka.client.properties`: bootstrap.servers is missing; name a broker as host:port")
    protocol = properties.get("security.protocol", "PLAINTEXT").upper()
    if protocol not in _PROTOCOLS:
        problems.append(f"`kafka.client.properties`: there is no security.protocol {protocol}")
    mechanism = None
    if protocol.startswith("SASL"):
        mechanism = properties.get("sasl.mechanism", properties.get("sasl.mechanisms", "GSSAPI")).upper()
        if mechanism not in _MECHANISMS:
            problems.append(
                f"`kafka.client.properties`: the analytics app cannot log in by {mechanism}; "
                f"use sasl.mechanism {', '.join(_MECHANISMS)}"
            )
    if problems:
        raise SettingsError(problems)
    return Connection(
        servers=servers,
        tls=_tls(properties) if protocol.endswith("SSL") else None,
        mechanism=mechanism,
        username=properties.get("sasl.username", ""),
        password=properties.get("sasl.password", ""),
        unused=tuple(sorted(set(properties) - _USED)),
    )


def _tls(properties: Mapping[str, str]) -> ssl.SSLContext:
    authority = properties.get("ssl.ca.location")
    try:
        context = ssl.create_default_context(
            cafile=authority if authority and not Path(authority).is_dir() else None,
            capath=authority if authority and Path(authority).is_dir() else None,
            cadata=properties.get("ssl.ca.pem"),
        )
        certificate = properties.get("ssl.certificate.location")
        if certificate:
            context.load_cert_chain(
                certificate, properties.get("ssl.key.location"), properties.get("ssl.key.password")
            )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(
            [f"`kafka.client.properties`: the files of certificates cannot be used: {error}"]
        ) from error
    if properties.get("ssl.endpoint.identification.algorithm", "https") in ("none", ""):
        context.check_hostname = False
    if properties.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
