"""The settings of the mail server; the table of settings gathers them."""

from __future__ import annotations

from dataclasses import dataclass

from flowtide.settings.fields import setting


@dataclass(frozen=True, kw_only=True)
class Mail:
    """Where mails of invitations and of forgotten passwords are handed in (KEY-54)."""

    host: str | None = setting(
        "ee.mail-service.host",
        None,
        "The mail server of invitations and password resets; without one no mail is sent.",
        also=("mail-service.host",),
    )
    port: int = setting("ee.mail-service.port", 587, "Its port.", also=("mail-service.port",))
    username: str | None = setting(
        "ee.mail-service.username", None, "Who hands mails in.", also=("mail-service.username",)
    )
    password: str | None = setting(
        "ee.mail-service.password", None, "Their password.", also=("mail-service.password",), secret=True
    )
    sender: str | None = setting(
        "ee.mail-service.from",
        None,
        "The e-mail address that mails come from.",
        also=("mail-service.from",),
        shown_default="the user name, where it is an address",
    )
    sender_name: str = setting(
        "ee.mail-service.from-name", "Flowtide", "The name beside it.", also=("mail-service.from-name",)
    )
    authenticate: bool = setting(
        "ee.mail-service.auth",
        True,
        "Whether to log in, when there is a user name.",
        also=("mail-service.auth",),
    )
    start_tls: bool = setting(
        "ee.mail-service.starttls-enable",
        True,
        "Whether the connection has to be encrypted by STARTTLS.",
        also=("mail-service.starttls-enable",),
    )
    ca_file: str | None = setting(
        "ee.mail-service.ca-file",
        None,
        "The certificates that the mail server's is checked with.",
        shown_default="those that this machine trusts",
    )
