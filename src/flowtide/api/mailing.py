"""The mails that people get: what they are about in, subject and text out; and the one who sends them.

Links carry their secret behind `#`, which browsers keep to themselves, so that it stands in no log of a proxy.
State: that of the sender.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from aiohttp import web

from flowtide.services.mail import Mailer

MAILER = web.AppKey("mailer", Mailer)


def password_reset_mail(url: str, name: str, token: str, lifetime: timedelta) -> tuple[str, str]:
    """The mail to somebody who forgot their password."""
    link = f"{url.rstrip('/')}/ui/password-reset#{token}"
    minutes = max(1, int(lifetime.total_seconds() // 60))
    text = (
        f"Hello {_plain(name)},\n\n"
        f"somebody, probably you, asked for another password for Flowtide at {url}.\n"
        f"Choose it within {minutes} minutes here; the link works once:\n\n{link}\n\n"
        "If it was not you, there is nothing to do: your password stays as it is.\n"
    )
    return "Choose another password", text


def invitation_mail(url: str, inviter: str, tenant: str, link: str, expires: datetime) -> tuple[str, str]:
    """The mail to somebody who is invited to a tenant."""
    text = (
        f"Hello,\n\n{_plain(inviter)} invites you to {_plain(tenant)} on Flowtide at {url}.\n"
        f"Accept until {expires:%d %B %Y, %H:%M} UTC here:\n\n{link}\n\n"
        "If you do not know what this is about, there is nothing to do.\n"
    )
    return f"You are invited to {_plain(tenant)}", text


def _plain(text: str) -> str:
    """A name on one line, for a mail."""
    return " ".join(text.split())[:200]
