"""Mails to people (KEY-54): a recipient, a subject and a text in, a message on its way to the mail server out.

Whoever asks does not wait: an answer that took longer for known addresses would tell who is known.  State: the mails
that are being sent, on one thread.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import make_msgid
from typing import Any, Final

import structlog

from flowtide.errors import FlowtideError

_MOST_WAITING: Final = 1_000

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class MailServer:
    """Where mails are handed in, and whom they are from."""

    host: str
    port: int = 587
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sender: str = ""  # an e-mail address
    sender_name: str = "Flowtide"
    authenticate: bool = True  # logs in, when there is a user name
    start_tls: bool = True
    ca_file: str | None = None  # None: the certificates that this machine trusts
    timeout: timedelta = timedelta(seconds=30)


class Mailer:
    """Sends mails.  `server` None: there is none, and nothing is sent."""

    def __init__(self, server: MailServer | None) -> None:
        self._server = server
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mail")
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def is_there(self) -> bool:
        """Whether mails can be sent."""
        return self._server is not None

    def send(self, recipient: str, subject: str, text: str) -> None:
        """Send a mail of plain text soon.  A failure is a line in the log, without the text."""
        if self._server is None:
            return
        if len(self._sending) >= _MOST_WAITING:
            logger.error("a mail was not sent, because too many wait for the mail server", subject=subject)
            return
        task = asyncio.create_task(self._send(self._server, recipient, subject, text), name="mail")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Prepare a mail beside the answer; a failure is a line in the log."""
        task = asyncio.create_task(self._prepared(work), name="mail")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _prepared(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except FlowtideError as error:
            logger.error("a mail was not prepared", error=type(error).__name__)

    async def close(self) -> None:
        """Wait until what was asked for is sent or has failed."""
        while self._sending:  # what is prepared sends another one
            await asyncio.gather(*self._sending, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _send(self, server: MailServer, recipient: str, subject: str, text: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            message = _message(server, recipient, subject, text)
            await loop.run_in_executor(self._thread, _hand_in, server, message)
        except (OSError, smtplib.SMTPException, MessageError, ValueError) as error:
            logger.error("a mail was not sent", subject=subject, error=type(error).__name__, host=server.host)


def _message(server: MailServer, recipient: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    local, _, domain = server.sender.partition("@")
    message["From"] = Address(server.sender_name, local, domain)
    message["To"] = Address(addr_spec=recipient)
    message["Subject"] = subject
    message["Message-ID"] = make_msgid(domain=domain or "localhost")
    message["Auto-Submitted"] = "auto-generated"  # so that nobody's holiday answers
    message.set_content(text)
    return message


def _hand_in(server: MailServer, message: EmailMessage) -> None:
    context: Any = ssl.create_default_context(cafile=server.ca_file)
    with smtplib.SMTP(server.host, server.port, timeout=server.timeout.total_seconds()) as client:
        if server.start_tls:
            client.starttls(context=context)
        if server.authenticate and server.username:
            client.login(server.username, server.password or "")
        client.send_message(message)
