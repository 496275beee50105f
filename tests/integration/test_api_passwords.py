"""Forgotten passwords and invitations by mail, and passwords for a first login, through a real mail server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import CookieJar
from aiohttp.test_utils import TestClient

from flowtide.api.iam.passwords import RESETS
from flowtide.api.keys import Site
from flowtide.api.mailing import MAILER
from flowtide.api.recognition import RECOGNITION
from flowtide.api.security import Security
from flowtide.services.mail import MailServer
from tests.integration import mail_server as mails
from tests.integration.api_system import System, running
from tests.integration.mail_server import Mailbox, mail_server
from tests.integration.test_api_identities import PASSWORD, asked, basic

NEW = "Another123"
URL = "https://flows.example.org"


@asynccontextmanager
async def together(folder: Path, **options: Any) -> AsyncIterator[tuple[System, Mailbox, str]]:
    """An application with a mail server, and the id of the user u@b.org."""
    async with mail_server() as mailbox:
        server = MailServer(
            host="127.0.0.1",
            port=mailbox.port,
            sender="flows@example.org",
            start_tls=False,
            authenticate=False,
        )
        security = Security(mail_server=server, hash_rounds=4, **options)
        async with running(folder, with_executor=False, security=security, site=Site(url=URL)) as system:
            body = {"email": "u@b.org", "password": PASSWORD, "tenants": ["main"], "firstName": "Uma"}
            user = await asked(system.client, "POST", "/api/v1/users", 201, json=body)
            yield system, mailbox, user["id"]


async def sent(system: System) -> None:
    """Every mail that was asked for is handed in, or was not to be sent."""
    app = system.client.app
    assert app is not None
    while app[MAILER]._sending:  # private: nobody else has to know
        await next(iter(app[MAILER]._sending))


async def ask(system: System, email: str, expected: int = 204) -> None:
    """Say that a password was forgotten."""
    await asked(system.stranger, "POST", "/api/v1/password-reset", expected, json={"email": email})
    await sent(system)


def token_in(text: str) -> str:
    """What stands behind the `#` of a mail's link."""
    found = re.search(re.escape(f"{URL}/ui/password-reset#") + r"(\S+)", text)
    assert found is not None, text
    return found[1]


async def test_a_forgotten_password_is_replaced_once_by_the_link_of_the_mail(tmp_path: Path) -> None:
    """AUTH-09, TRAP-43: the token works once, ends sessions and a lock, and a poor password does not use it up."""
    async with together(tmp_path) as (system, mailbox, user_id):
        browser: Any = TestClient(system.client.server, cookie_jar=CookieJar(unsafe=True))
        await asked(browser, "POST", "/login", json={"username": "u@b.org", "password": PASSWORD})
        for _ in range(10):
            await asked(system.stranger, "POST", "/login", 401, json={"username": "u@b.org", "password": "x"})
        await asked(system.stranger, "GET", "/api/v1/me", 401, headers=basic("u@b.org"))
        await ask(system, "U@B.org")
        mail = await mailbox.next()
        assert (mail["To"], mail["From"]) == ("u@b.org", "Flowtide <flows@example.org>")
        token = token_in(mail.get_content())
        held = {"token": token, "password": "weak"}
        confirm = "/api/v1/password-reset/confirm"
        await asked(system.stranger, "POST", confirm, 422, json=held)
        await asked(system.stranger, "GET", "/api/v1/me", 401, headers={"Authorization": f"Bearer {token}"})
        await asked(system.stranger, "POST", confirm, 204, json={**held, "password": NEW})
        await asked(system.stranger, "POST", confirm, 422, json={**held, "password": "Third1234"})
        await asked(browser, "GET", "/api/v1/me", 401)
        await asked(system.stranger, "GET", "/api/v1/me", 401, headers=basic("u@b.org"))
        await asked(system.stranger, "GET", "/api/v1/me", headers=basic("u@b.org", NEW))
        for wrong in ("", "x", token[:-2], token.replace(".", "", 1)):
            body = {"token": wrong, "password": NEW}
            await asked(system.stranger, "POST", confirm, 422, json=body)
        assert mailbox.is_empty
        await browser.session.close()
        await system.indexed()
        path = f"/api/v1/auditlogs/search?filters[details][EQUALS][id]={user_id}"
        found = (await asked(system.client, "GET", path))["results"]
        kinds = [(each["auditLog"]["type"], each["auditLog"]["userId"]) for each in found]
        assert kinds.count(("UPDATE", "u@b.org")) == 2  # the mail was sent, and the password changed
        assert ("ACCOUNT_LOCKED", "u@b.org") in kinds
        assert NEW not in str(found)
        assert token not in str(found)


async def test_nobody_learns_who_is_known(tmp_path: Path) -> None:
    """The answer is the same for a stranger, somebody without a password and the configured user; no mail goes out."""
    async with together(tmp_path) as (system, mailbox, _):
        body: dict[str, Any] = {"email": "sso@b.org", "tenants": ["main"]}
        await asked(system.client, "POST", "/api/v1/users", 201, json=body)
        body = {"email": "demo@b.org", "tenants": ["main"], "password": PASSWORD, "restricted": True}
        await asked(system.client, "POST", "/api/v1/users", 201, json=body)
        for email in ("nobody@b.org", "sso@b.org", "admin@example.org", "demo@b.org"):
            await ask(system, email)
        assert mailbox.is_empty
        await ask(system, "no address", 422)


async def test_mails_are_few_and_only_the_last_one_counts(tmp_path: Path) -> None:
    """AUTH-09: one mail to a user in the cool-down, some requests of an address in the window, the last link only."""
    async with together(tmp_path, reset_requests=4) as (system, mailbox, _):
        await ask(system, "u@b.org")
        first = token_in((await mailbox.next()).get_content())
        await ask(system, "u@b.org")
        assert mailbox.is_empty
        app = system.client.app
        assert app is not None
        recognition = app[RECOGNITION]
        recognition.security = type(recognition.security)(hash_rounds=4, reset_cooldown=timedelta(0))
        await ask(system, "u@b.org")
        second = token_in((await mailbox.next()).get_content())
        for token, status in ((first, 422), (second, 204)):
            body = {"token": token, "password": NEW}
            await asked(system.stranger, "POST", "/api/v1/password-reset/confirm", status, json=body)
        await ask(system, "u@b.org")
        await mailbox.next()
        await ask(system, "u@b.org", 429)
        app[RESETS]._times.clear()  # private: as if the window were over
        await ask(system, "nobody@b.org")


async def test_a_password_for_the_first_login_opens_only_the_way_to_another_one(tmp_path: Path) -> None:
    """An administrator gives a password with `mustChangePassword`; its owner has to choose one of their own."""
    async with together(tmp_path) as (system, _, user_id):
        body = {"password": "Given1234", "mustChangePassword": True}
        await asked(system.client, "PATCH", f"/api/v1/users/{user_id}/password", json=body)
        given = basic("u@b.org", "Given1234")
        await asked(system.stranger, "GET", "/api/v1/me", 403, headers=given)
        refusal = await asked(
            system.stranger, "POST", "/login", 403, json={"username": "u@b.org", "password": "Given1234"}
        )
        assert refusal["passwordChangeNeeded"]
        confirm, token = "/api/v1/password-reset/confirm", refusal["passwordChangeToken"]
        same = {"token": token, "password": "Given1234"}
        await asked(system.stranger, "POST", confirm, 422, json=same)
        await asked(system.stranger, "POST", confirm, 204, json={"token": token, "password": NEW})
        await asked(system.stranger, "GET", "/api/v1/me", headers=basic("u@b.org", NEW))
        await asked(system.stranger, "GET", "/api/v1/me", 401, headers=given)
        body = {"email": "n@b.org", "password": PASSWORD, "tenants": ["main"], "mustChangePassword": True}
        await asked(system.client, "POST", "/api/v1/users", 201, json=body)
        await asked(system.stranger, "GET", "/api/v1/me", 403, headers=basic("n@b.org"))


async def test_an_invitation_is_mailed_over_an_encrypted_connection(tmp_path: Path) -> None:
    """INV-01, KEY-54: host, port, user, password, sender and STARTTLS, whose certificate is checked."""
    async with mail_server(tmp_path / "certificate") as mailbox:
        server = MailServer(
            host="127.0.0.1",
            port=mailbox.port,
            username=mails.USERNAME,
            password=mails.PASSWORD,
            sender="flows@example.org",
            sender_name="Flows",
            ca_file=str(mailbox.ca_file),
        )
        security = Security(mail_server=server, hash_rounds=4)
        async with running(
            tmp_path, with_executor=False, security=security, site=Site(url=URL + "/")
        ) as system:
            body = {"email": "new@b.org", "roles": [{"id": "viewer"}]}
            made = await asked(system.client, "POST", "/api/v1/main/invitations", json=body)
            mail = await mailbox.next()
            assert made["link"] in mail.get_content()
            assert (mail["To"], mail["From"]) == ("new@b.org", "Flows <flows@example.org>")
            assert mailbox.logins == [mails.USERNAME]
            body = {"firstName": "New", "lastName": "One", "password": PASSWORD}
            path = f"/api/v1/invitation/create/{made['id']}"
            await asked(system.stranger, "POST", path, json=body)
            await asked(system.stranger, "GET", "/api/v1/main/flows/search", headers=basic("new@b.org"))


async def test_without_a_mail_server_everybody_is_told_the_same(tmp_path: Path) -> None:
    """Who asks for a mail that cannot be sent hears so, whether they are known or not."""
    async with running(tmp_path, with_executor=False, site=Site(url=URL)) as system:
        for email in ("admin@example.org", "nobody@b.org"):
            await asked(system.stranger, "POST", "/api/v1/password-reset", 409, json={"email": email})
