"""The settings of the mail server (KEY-54): the table's values in, a MailServer out, or None without one.  No state."""

from __future__ import annotations

from flowtide.errors import SettingsError
from flowtide.services.mail import MailServer
from flowtide.settings import Settings


def mail_server_of(settings: Settings) -> MailServer | None:
    """What the settings say.  Raises SettingsError for a server without a sender."""
    mail = settings.mail
    if not mail.host:
        return None
    sender = mail.sender or mail.username or ""
    if "@" not in sender:
        raise SettingsError(["`flowtide.ee.mail-service.from` is needed: the address that mails come from"])
    return MailServer(
        host=mail.host,
        port=mail.port,
        username=mail.username,
        password=mail.password,
        sender=sender,
        sender_name=mail.sender_name,
        authenticate=mail.authenticate,
        start_tls=mail.start_tls,
        ca_file=mail.ca_file,
    )
