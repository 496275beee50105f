"""Mails that cannot be sent: whoever asked goes on, and the log says so without the text."""

from __future__ import annotations

import socket

import pytest
from structlog.testing import capture_logs

from flowtide.services.mail import Mailer, MailServer

TEXT = "the link https://flows.example.org/ui/password-reset#s3cret"


@pytest.mark.parametrize(
    ("recipient", "subject"),
    [
        ("a..b@b.org", "x"),
        ("a@b.org\r\nBcc: c@b.org", "x"),
        ("no address", "x"),
        ("a@b.org", "x\r\nBcc: c@b.org"),
    ],
)
async def test_what_is_no_mail_is_not_handed_in(recipient: str, subject: str) -> None:
    """No header is smuggled in by an address or a name; the server is never asked."""
    mailer = Mailer(MailServer(host="127.0.0.1", port=9, sender="flows@example.org"))
    with capture_logs() as lines:
        mailer.send(recipient, subject, TEXT)
        await mailer.close()
    assert [line["event"] for line in lines] == ["a mail was not sent"]
    assert lines[0]["error"] != "ConnectionRefusedError"


async def test_a_server_that_is_away_costs_a_line_in_the_log() -> None:
    """The text, which holds secrets, does not stand in it."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        mailer = Mailer(
            MailServer(host="127.0.0.1", port=closed.getsockname()[1], sender="flows@example.org")
        )
        with capture_logs() as lines:
            mailer.send("a@b.org", "Choose another password", TEXT)
            await mailer.close()
    assert lines[0]["error"] == "ConnectionRefusedError"
    assert "s3cret" not in str(lines)


async def test_without_a_server_nothing_happens() -> None:
    """`is_there` says so."""
    mailer = Mailer(None)
    assert not mailer.is_there
    mailer.send("a@b.org", "x", TEXT)
    await mailer.close()
