"""A mail server for tests on a real socket, by aiosmtpd: it keeps what comes in, and may ask for TLS and a login."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USERNAME, PASSWORD = "mailer", "mail-s3cret"


@dataclass
class Mailbox:
    """What was handed in, and where to hand it in."""

    port: int = 0
    ca_file: Path | None = None
    logins: list[str] = field(default_factory=list)
    _mails: asyncio.Queue[EmailMessage] = field(default_factory=asyncio.Queue)

    async def next(self) -> EmailMessage:
        """The next mail, which may still be on its way."""
        return await self._mails.get()

    @property
    def is_empty(self) -> bool:
        """Whether every mail that came was looked at."""
        return self._mails.empty()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        """Keep a mail."""
        content = envelope.content
        assert isinstance(content, bytes)
        self._mails.put_nowait(message_from_bytes(content, policy=default))
        return "250 kept"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        """Take one name and password."""
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        return AuthResult(success=(data.login, data.password) == (USERNAME.encode(), PASSWORD.encode()))


@asynccontextmanager
async def mail_server(folder: Path | None = None) -> AsyncIterator[Mailbox]:
    """Serve one until the block ends; with a folder, for its certificate, it insists on STARTTLS and a login."""
    mailbox = Mailbox()
    options: dict[str, Any] = {"hostname": "localhost", "enable_SMTPUTF8": True}
    if folder is not None:
        mailbox.ca_file, context = _certificate(folder)
        options |= {
            "tls_context": context, "require_starttls": True, "auth_required": True,
            "authenticator": mailbox.authenticate,
        }  # fmt: skip  # reads better as a paragraph
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(mailbox, **options), "127.0.0.1", 0)
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
        await server.wait_closed()


def _certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    file, secret = folder / "mail.pem", folder / "mail.key"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, secret)
    return file, context
