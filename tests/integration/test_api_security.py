"""What forged tokens, odd paths and headers, and pages of other origins get from the API: one server for all tests."""

from __future__ import annotations

import asyncio
import re
import warnings
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any

import jwt
import msgspec
import pytest
import pytest_asyncio

from flowtide.api.permissions import Caller
from flowtide.api.recognition import RECOGNITION, Recognition
from flowtide.api.routes import ROUTES
from flowtide.services.identity import Limits
from tests.integration.api_system import LOGIN, PASSWORD, USERNAME, System, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/v1"
SEARCH = f"{API}/main/flows/search"
STRONG = "Strong123"
YAML = {"Content-Type": "application/x-yaml"}
FLOW = """\
id: guarded
namespace: company.team
tasks:
  - {id: give, type: io.kestra.plugin.core.debug.Return, format: x}
triggers:
  - {id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: right-key}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A running system with a flow, and another tenant."""
    async with running(tmp_path_factory.mktemp("security"), with_executor=False) as found:
        await asked(found, "POST", f"{API}/main/flows", data=FLOW, headers={**YAML, **OWN})
        await _recognition(found).directory.create_tenant("other", _tenant())
        yield found


OWN = {"Authorization": LOGIN}


def _tenant() -> Any:
    from flowtide.model.identity import Tenant

    return Tenant(name="Other", created=datetime.now(UTC))


def _recognition(system: System) -> Recognition:
    app = system.client.app
    assert app is not None
    found: Recognition = app[RECOGNITION]
    return found


async def asked(system: System, method: str, path: str, status: int = 200, **arguments: Any) -> Any:
    """Ask as a stranger, and give the JSON of the answer, which must have this status and be no stack trace."""
    async with system.stranger.request(method, path, **arguments) as response:
        text = await response.text()
        assert response.status == status, (method, path, response.status, text[:500])
        assert "Traceback" not in text
        return msgspec.json.decode(text) if response.content_type == "application/json" and text else text


async def raw(system: System, request: bytes) -> tuple[int, bytes]:
    """Send bytes as they are; gives the status and the answer."""
    assert system.client.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", system.client.port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer


async def login(system: System, **headers: str) -> SimpleCookie:
    """Log in as the configured user; gives the cookies."""
    body = {"username": USERNAME, "password": PASSWORD}
    async with system.stranger.post("/login", json=body, headers=headers) as response:
        assert response.status == 200
        system.stranger.session.cookie_jar.clear()
        cookies: SimpleCookie = response.cookies
        return cookies


async def person(system: System, email: str) -> str:
    """A user with a password and access to the tenant `main`."""
    found = await asked(
        system, "POST", f"{API}/users", 201, headers=OWN,
        json={"email": email, "password": STRONG, "tenants": ["main"]},
    )  # fmt: skip  # reads better as a paragraph
    identifier: str = found["id"]
    return identifier


def bearer(token: str) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token}"}


# --- tokens ------------------------------------------------------------------------------------------------------


async def test_a_token_is_taken_as_what_it_is_only(system: System) -> None:
    """A renewal secret is no access token, an access token renews nothing, and neither is a password."""
    cookies = await login(system)
    access, renewal = cookies["JWT"].value, cookies["JWT_REFRESH_TOKEN"].value
    await asked(system, "GET", SEARCH, headers=bearer(access))
    await asked(system, "GET", SEARCH, 401, headers=bearer(renewal))
    await asked(system, "GET", SEARCH, 401, headers={"Cookie": f"JWT={renewal}"})
    await asked(system, "POST", "/oauth/access_token", 401, json={"refresh_token": access})
    await asked(system, "POST", "/login", 401, json={"username": USERNAME, "password": access})
    odd = b64encode(f"{USERNAME}:{access}".encode()).decode()
    await asked(system, "GET", SEARCH, 401, headers={"Authorization": f"Basic {odd}"})
    await asked(system, "POST", "/logout", headers=bearer(access))
    await asked(system, "GET", SEARCH, 401, headers=bearer(access))
    await asked(system, "POST", "/oauth/access_token", 401, json={"refresh_token": renewal})


async def test_forged_tokens_open_nothing(system: System) -> None:
    """No signature, a foreign key, another algorithm, another issuer, the past, and what is no token at all."""
    access = (await login(system))["JWT"].value
    claims = jwt.decode(access, options={"verify_signature": False})
    key = await _recognition(system).tokens._signing_key()  # the worst case: only the claims are wrong
    past = datetime.now(UTC) - timedelta(seconds=1)
    none = urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    head, body, signature = access.split(".")
    with warnings.catch_warnings(action="ignore"):  # of a key that is short for this algorithm
        other = jwt.encode(claims, key, algorithm="HS512")
    forged = [
        other,
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{head}.{body}.",
        jwt.encode(claims, b"f" * 32, algorithm="HS256"),
        jwt.encode({**claims, "iss": "kestra"}, key),
        jwt.encode({**claims, "exp": past}, key),
        jwt.encode({**claims, "sid": "unknown"}, key),
        jwt.encode({**claims, "sub": "admin"}, key),
        jwt.encode({name: value for name, value in claims.items() if name != "exp"}, key),
        jwt.encode({**claims, "exp": 10**400}, key),
        "a.b.c",
        "." * 2,
        "\u00fc.\u00fc.\u00fc",
        "a" * 5_000,
    ]
    for token in forged:
        await asked(system, "GET", SEARCH, 401, headers=bearer(token))
        if token.isascii():
            await asked(system, "GET", SEARCH, 401, headers={"Cookie": f"JWT={token}"})
    await asked(system, "GET", SEARCH, headers=bearer(access))


async def test_who_lost_their_rights_keeps_none_in_a_token(system: System) -> None:
    """Sessions and API tokens end with their user, by revocation and by a new password."""
    user_id = await person(system, "leaver@example.org")
    directory = _recognition(system).directory
    session_id, _, session = await directory.open_session(user_id, lifetime=timedelta(days=1))
    token, _ = await _recognition(system).tokens.sign(user_id, session_id, session.expires)
    made = await asked(system, "POST", f"{API}/users/{user_id}/api-tokens", headers=OWN, json={"name": "ci"})
    await asked(system, "GET", f"{API}/me", headers=bearer(token))
    await asked(system, "GET", f"{API}/me", headers=bearer(made["fullToken"]))
    await asked(system, "DELETE", f"{API}/users/{user_id}/refresh-token", 204, headers=OWN)
    await asked(system, "GET", f"{API}/me", 401, headers=bearer(token))
    await asked(system, "DELETE", f"{API}/users/{user_id}", 204, headers=OWN)
    await asked(system, "GET", f"{API}/me", 401, headers=bearer(made["fullToken"]))


# --- paths and headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/main/%2e%2e/main/flows/search",
        "/api/v1/main/../main/flows/search",
        "/api/v1/main/executions/webhook/..%2f..%2fflows/search/x",
        "/api/v1/main/executions/webhook/%2e%2e/%2e%2e/flows",
        "/api/v1/main/executions/webhook/company.team/guarded/wrong-key/../../../../flows/search",
        "/api/v1/main%2Fflows%2Fsearch",
        "/api/v1/main/flows%2Fsearch",
        "/api/v1/main/flows%252Fsearch",
        "/api/v1/main%00/flows/search",
        "/api/v1/main./flows/search",
        "/api/v1//main/flows/search",
        "//api/v1/main/flows/search",
        "/api/v1/main/flows/search;x=1",
        "/api/v1/main/flows/search/..",
        "/api/v1/MAIN/flows/search",
        "/api/V1/main/flows/search",
        "/api/v1/configs/../main/flows/search",
        "/api/v1/configs%2f..%2fmain/flows/search",
        "/api/v1/main/flows/search%20",
        "/api/v1/main/flows/search\\",
        "http://127.0.0.1/api/v1/main/flows/search",
    ],
)
async def test_no_spelling_of_a_path_goes_around_the_login(system: System, path: str) -> None:
    """A stranger gets 401 or 404 for each, and never an answer or a 500."""
    status, answer = await raw(
        system, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    assert status in (400, 401, 404), answer
    assert b'"results"' not in answer


async def test_no_header_changes_who_asks_for_what(system: System) -> None:
    """Methods, paths, hosts and addresses that a proxy would name mean nothing for the way in."""
    tricks = {
        "X-HTTP-Method-Override": "DELETE",
        "X-Method-Override": "DELETE",
        "X-Original-URL": f"{API}/configs",
        "X-Rewrite-URL": f"{API}/configs",
        "X-Forwarded-Prefix": "/x",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Host": "localhost",
        "X-Forwarded-User": USERNAME,
        "Forwarded": "for=127.0.0.1",
        "X-Kestra-Impersonate": USERNAME,
        "X-Kestra-Tenant": "other",
    }
    for name, value in tricks.items():
        await asked(system, "GET", SEARCH, 401, headers={name: value})
        await asked(system, "POST", SEARCH, 401, headers={name: value})
    path = f"{API}/main/flows/company.team/guarded"
    for name in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"):
        await asked(system, "GET", f"{path}?_method=DELETE", headers={**OWN, name: "DELETE"})
    assert (await asked(system, "GET", path, headers=OWN))["id"] == "guarded"
    for method in ("HEAD", "TRACE", "PROPFIND", "OPTIONS"):
        async with system.stranger.request(method, SEARCH) as response:
            assert response.status in (401, 405), method


async def test_the_path_alone_says_which_tenant_is_meant(system: System) -> None:
    """A tenant or a namespace in a body, a query or a header moves nothing elsewhere."""
    foreign = FLOW.replace("id: guarded", "id: elsewhere\ntenantId: other")
    async with system.stranger.post(f"{API}/main/flows", data=foreign, headers={**YAML, **OWN}) as response:
        assert response.status in (200, 422)
    await asked(system, "GET", f"{API}/main/flows/search?tenantId=other&tenant=other", headers=OWN)
    body = {"id": "made", "tenantId": "other", "tenant": "other"}
    async with system.stranger.post(f"{API}/main/namespaces", json=body, headers=OWN) as response:
        assert response.status in (200, 201, 422)
    moved = FLOW.replace("company.team", "company.moved")
    path = f"{API}/main/flows/company.team/guarded"
    await asked(system, "PUT", path, 422, data=moved, headers={**YAML, **OWN})
    for identifier in ("elsewhere", "made"):
        for area in ("flows/company.team", "namespaces"):
            async with system.stranger.get(f"{API}/other/{area}/{identifier}", headers=OWN) as response:
                assert response.status in (403, 404)


# --- pages of other origins --------------------------------------------------------------------------------------


async def test_cookies_are_kept_from_scripts_and_other_pages(system: System) -> None:
    """HttpOnly and SameSite always, Secure when the page came by https; the renewal secret goes to one path only."""
    plain = await login(system)
    secure = await login(system, **{"X-Forwarded-Proto": "https"})
    for name, same_site, path in (
        ("JWT", "Lax", "/"),
        ("JWT_REFRESH_TOKEN", "Strict", "/oauth/access_token"),
    ):
        assert plain[name]["httponly"]
        assert secure[name]["secure"]
        assert plain[name]["samesite"] == same_site
        assert plain[name]["path"] == path


async def test_another_page_changes_nothing_with_a_cookie(system: System) -> None:
    """Not by simple requests either: forms and plain text with a cookie from another origin are refused."""
    token = (await login(system))["JWT"].value
    foreign = {"Origin": "https://evil.example"}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = {"Cookie": f"JWT={token}", "Content-Type": kind, **foreign}
        await asked(system, "POST", f"{API}/main/flows", 403, data=FLOW.encode(), headers=headers)
        await asked(system, "POST", f"{API}/main/executions/company.team/guarded", 403, headers=headers)
    basic = {"Cookie": f"BASIC_AUTH={LOGIN.removeprefix('Basic ')}", **foreign}
    await asked(system, "DELETE", f"{API}/main/flows/company.team/guarded", 403, headers=basic)
    tricked = {**basic, "X-Forwarded-Host": "127.0.0.1", "Referer": str(system.client.make_url("/"))}
    await asked(system, "DELETE", f"{API}/main/flows/company.team/guarded", 403, headers=tricked)


async def test_another_page_neither_logs_in_nor_sets_up(system: System) -> None:
    """A login, a renewal, a logout and the first set-up are refused to pages of other origins, login or not."""
    foreign = {"Origin": "https://evil.example"}
    body = {"username": USERNAME, "password": PASSWORD}
    for path in ("/login", "/logout", "/oauth/access_token", f"{API}/main/basicAuth", f"{API}/setup"):
        await asked(system, "POST", path, 403, json=body, headers=foreign)
        simple = {"Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}
        await asked(system, "POST", path, 403, data=msgspec.json.encode(body), headers=simple)


async def test_webhooks_are_for_everybody_with_the_key(system: System) -> None:
    """Any page may call a webhook; without the exact key there is nothing, for every wrong one the same answer."""
    path = f"{API}/main/executions/webhook/company.team"
    await asked(system, "POST", f"{path}/guarded/right-key", headers={"Origin": "https://evil.example"})
    answers = set()
    for key in ("right-ke", "right-key2", "RIGHT-KEY", "%72ight-key%00", "*", "right-key%20", "\u00fc"):
        answers.add(str(await asked(system, "POST", f"{path}/guarded/{key}", 404))[:60])
    assert len(answers) == 1
    known = await asked(system, "POST", f"{path}/guarded/wrong", 404)
    unknown = await asked(system, "POST", f"{path}/nothing/wrong", 404)
    assert (known["message"].partition(":")[0]) == (unknown["message"].partition(":")[0])


# --- passwords ---------------------------------------------------------------------------------------------------


async def test_an_answer_does_not_tell_who_is_there(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password of a user, of the configured login and of nobody: the same words for the same work."""
    await person(system, "there@example.org")
    compared: list[str] = []
    passwords = _recognition(system).passwords
    original = passwords.fits

    async def fits(password: str, hashed: str | None) -> bool:
        compared.append("once")
        return await original(password, hashed)

    monkeypatch.setattr(passwords, "fits", fits)
    seen = set()
    for name in ("there@example.org", USERNAME, "nobody@example.org"):
        compared.clear()
        answer = await asked(system, "POST", "/login", 401, json={"username": name, "password": "Wrong123"})
        seen.add((answer["message"], len(compared)))
    assert len(seen) == 1, seen
    _recognition(system).attempts.forget("there@example.org")


async def test_an_address_that_guesses_waits_and_a_user_is_locked(system: System) -> None:
    """Lockout by name, and a limit by address that made-up names and headers do not go around: 429, Retry-After."""
    recognition = _recognition(system)
    before = recognition.attempts.limits
    recognition.attempts.limits = Limits(threshold=3, address_failures=6)
    try:
        statuses = []
        for number in range(8):
            headers = {"X-Forwarded-For": f"10.0.0.{number}", "Forwarded": f"for=10.0.0.{number}"}
            body = {"username": f"guess{number}@example.org", "password": "Wrong123"}
            async with system.stranger.post("/login", json=body, headers=headers) as response:
                statuses.append(response.status)
        assert statuses[-1] == 429
        async with system.stranger.post("/login", json=body) as response:
            assert int(response.headers["Retry-After"]) > 0
    finally:
        recognition.attempts.limits = before
        recognition.attempts._addresses.clear()


# --- the table ---------------------------------------------------------------------------------------------------


async def test_every_route_says_who_may_come_in(system: System) -> None:
    """Each has a row in the table of permissions, and a stranger comes through those only that are open."""
    for route in ROUTES:
        rule = route.permission
        assert rule is not None, f"{route.method} {route.path}"
        assert (rule.caller is Caller.OPEN) == route.open, f"{route.method} {route.path}"
        if route.open:
            continue
        path = API + re.sub(r"\{([A-Za-z]+)(?::[^}]*)?\}", _value, route.path)
        await asked(system, route.method, path, 401)


def _value(match: re.Match[str]) -> str:
    return {"tenant": "main", "namespace": "company.team", "id": "guarded"}.get(match[1], "x")
