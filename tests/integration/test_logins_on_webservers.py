"""Logins behind a load balancer: what one webserver answered about passwords and sessions holds on the next at once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, DummyCookieJar

from flowtide.testing.servers import kafka_shape
from tests.integration.installation import Caller, basic, installed
from tests.integration.outside import remove_topics_and_indices

GIVEN, CHOSEN, OTHER = "Given1234", "Chosen1234", "Other12345"
CONFIRM = "/api/v1/password-reset/confirm"
RENEWAL = "/oauth/access_token"


@pytest.fixture(
    params=["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.elasticsearch])]
)
async def backends(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mapping[str, Any]]:
    """The settings of the log and the index: in files, and real ones with topics and indices of their own."""
    if request.param == "embedded":
        yield {}
        return
    kafka, url = request.getfixturevalue("kafka_address"), request.getfixturevalue("elasticsearch_url")
    prefix = f"test_logins_{uuid.uuid4().hex[:10]}_"
    yield kafka_shape(tmp_path, kafka=kafka, elasticsearch=url, prefix=prefix, partitions=2).overrides
    await asyncio.to_thread(remove_topics_and_indices, kafka, url, prefix)


class Person:
    """Somebody with a browser and no other memory; each request names the webserver that it goes to."""

    def __init__(self, webservers: list[ClientSession], name: str) -> None:
        self._webservers = webservers
        self._name = name
        self.cookies: dict[str, str] = {}

    async def ask(self, turn: int, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        """One request; gives status and body, and keeps cookies that have to do with sessions."""
        session = self._webservers[turn % len(self._webservers)]
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {**({"Cookie": cookies} if cookies else {}), **more.pop("headers", {})}
        async with session.request(method, path, json=body, headers=headers, **more) as response:
            for name, cookie in response.cookies.items():
                if name.startswith("JWT"):
                    self.cookies[name] = cookie.value
            is_json = response.content_type == "application/json"
            return response.status, await response.json() if is_json else await response.text()

    async def log_in(self, turn: int, password: str) -> tuple[int, Any]:
        """Log in by name and password, as somebody who has forgotten everything."""
        self.cookies = {}
        return await self.ask(turn, "POST", "/login", {"username": self._name, "password": password})

    async def me(self, turn: int) -> int:
        """The status of asking who one is, by the session."""
        return (await self.ask(turn, "GET", "/api/v1/me"))[0]


async def test_passwords_and_sessions_change_on_all_webservers_at_once(
    tmp_path: Path, backends: Mapping[str, Any]
) -> None:
    """A password, a token to choose one, a session, a renewal secret, a user: what is over is over everywhere."""
    async with installed(tmp_path, backends) as found:
        webservers = [
            ClientSession(each._base_url, cookie_jar=DummyCookieJar())  # private: the address it was made for
            for each in found.admin.webservers
        ]
        try:
            for turn in range(4):
                await _walk(found.admin, webservers, turn)
        finally:
            for each in webservers:
                await each.close()


async def _walk(admin: Caller, webservers: list[ClientSession], turn: int) -> None:
    here, there = turn, turn + 1
    name = f"u{turn}@b.org"
    user = {"email": name, "password": GIVEN, "mustChangePassword": True, "tenants": ["main"]}
    made = await admin.ask_at(here, "POST", "/users", user)
    assert made.status == 201, made.text
    user_id = made.body["id"]
    person, other = Person(webservers, name), Person(webservers, name)

    # The first password is good for choosing another one, once.
    status, refusal = await person.log_in(there, GIVEN)
    assert status == 403
    choice = {"token": refusal["passwordChangeToken"], "password": CHOSEN}
    assert (await person.ask(here, "POST", CONFIRM, choice))[0] == 204
    assert (await person.ask(there, "POST", CONFIRM, {**choice, "password": OTHER}))[0] == 422
    assert (await person.log_in(there, GIVEN))[0] == 401
    assert (await person.log_in(there, CHOSEN))[0] == 200
    assert await person.me(here) == 200

    # Sessions end where somebody ends them, and everywhere.
    assert (await other.log_in(here, CHOSEN))[0] == 200
    assert await other.me(there) == 200
    assert (await person.ask(here, "DELETE", "/api/v1/me/sessions"))[0] == 204
    assert await other.me(there) == 401
    assert (await other.ask(there, "POST", RENEWAL))[0] == 401
    assert await person.me(there) == 200
    before = dict(person.cookies)
    assert (await person.ask(there, "POST", "/logout"))[0] in (200, 204)
    person.cookies = before
    assert await person.me(here) == 401
    assert (await person.ask(here, "POST", RENEWAL))[0] == 401

    # A renewed session goes on, and ends by an administrator.
    assert (await person.log_in(here, CHOSEN))[0] == 200
    assert (await person.ask(there, "POST", RENEWAL))[0] == 200
    assert (await person.ask(here, "POST", RENEWAL))[0] == 200
    assert await person.me(there) == 200
    ended = await admin.ask_at(here, "DELETE", f"/users/{user_id}/refresh-token")
    assert ended.status == 204, ended.text
    assert await person.me(there) == 401
    assert (await person.ask(there, "POST", RENEWAL))[0] == 401

    # So do sessions when the password is changed, by whomever, and when the user is deleted.
    assert (await person.log_in(there, CHOSEN))[0] == 200
    changed = await admin.ask_at(here, "PATCH", f"/users/{user_id}/password", {"password": OTHER})
    assert changed.status < 300, changed.text
    assert await person.me(there) == 401
    for password, expected in ((CHOSEN, 401), (OTHER, 200)):
        by_header = {"headers": basic(name, password)}
        assert (await other.ask(there, "GET", "/api/v1/me", **by_header))[0] == expected
    assert (await person.log_in(there, OTHER))[0] == 200
    gone = await admin.ask_at(here, "DELETE", f"/users/{user_id}")
    assert gone.status == 204, gone.text
    assert await person.me(there) == 401
    assert (await person.log_in(there, OTHER))[0] == 401
