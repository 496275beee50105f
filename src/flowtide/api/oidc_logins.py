"""Logging in by a provider of OpenID Connect: the browser goes there and comes back with a code (SSO-02).

Paths are `/oauth/login/{provider}` and `/oauth/callback/{provider}`, which the provider knows.  State: the providers'
discovery documents; a login under way is kept by the browser that began it.
"""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import quote

import msgspec
from aiohttp import web

from flowtide.api.iam.fields import EMAIL
from flowtide.api.keys import CLOCK, SITE
from flowtide.api.logins import opened
from flowtide.api.oidc_providers import PROVIDERS, redirect_uri
from flowtide.api.problems import not_found
from flowtide.api.recognition import RECOGNITION, Recognition, address_of
from flowtide.errors import LoginRefused
from flowtide.services.identity.oidc import Attempt, OidcProvider, groups_in
from flowtide.services.identity.provisioning import Provisioning, arrival_by_oidc

_COOKIE = "OIDC_LOGIN"
_COOKIE_SECONDS = 600
_LONGEST_COOKIE = 2_000


def add_oidc_routes(app: web.Application, context_path: str) -> None:
    """Add the paths when there are providers."""
    clients = app[RECOGNITION].security.oidc_clients
    if not clients:
        return
    app[PROVIDERS] = {
        client.name: OidcProvider(client, clock=app[CLOCK], token_bytes=secrets.token_bytes)
        for client in clients
    }
    app.router.add_route("GET", f"{context_path}/oauth/login/{{provider}}", begin)
    app.router.add_route("GET", f"{context_path}/oauth/callback/{{provider}}", finish)


def login_links(app: web.Application) -> list[dict[str, str]]:
    """The providers, for the buttons of the page to log in."""
    root = app[SITE].context_path
    return [
        {"id": f"OIDC:{name}", "name": name, "type": "OIDC", "url": f"{root}/oauth/login/{quote(name)}"}
        for name in app.get(PROVIDERS, {})
    ]


async def begin(request: web.Request) -> web.StreamResponse:
    """Send the browser to the provider."""
    provider = _provider(request)
    address, attempt = await provider.begin(redirect_uri(request, provider))
    answer = web.Response(status=302, headers={"Location": address, "Cache-Control": "no-store"})
    content = msgspec.json.encode([attempt.provider, attempt.state, attempt.nonce, attempt.verifier])
    answer.set_cookie(
        _COOKIE,
        content.hex(),
        path=_path(request),
        max_age=_COOKIE_SECONDS,
        httponly=True,
        secure=redirect_uri(request, provider).startswith("https:"),
        samesite="Lax",
    )
    return answer


async def finish(request: web.Request) -> web.StreamResponse:
    """Take the provider's code, and open a session for whom it is of."""
    provider, recognition = _provider(request), request.app[RECOGNITION]
    try:
        return await _finish(request, provider, recognition)
    except LoginRefused as refused:
        name, address = f"OIDC:{provider.client.name}", address_of(request)
        recognition.notes.failed(name, None, address, reason=f"{provider.client.name}: {refused.message}")
        raise


async def _finish(
    request: web.Request, provider: OidcProvider, recognition: Recognition
) -> web.StreamResponse:
    attempt = _attempt(request)
    state = request.query.get("state", "")
    if (
        attempt is None
        or attempt.provider != provider.client.name
        or not hmac.compare_digest(attempt.state.encode(), state.encode())
    ):
        raise LoginRefused("this login was not begun here, or too long ago; begin again")
    error, code = request.query.get("error"), request.query.get("code")
    if error is not None or not code:
        said = error if error is not None and error.isprintable() else "no code"
        raise LoginRefused(f"{provider.client.name} refused: {said[:100]}")
    proven = await provider.finish(
        attempt, code, redirect_uri(request, provider), issuer=request.query.get("iss")
    )
    if proven.email is not None and EMAIL.fullmatch(proven.email) is None:
        raise LoginRefused(f"{provider.client.name} gave an e-mail address that is none")
    path = recognition.security.oidc_groups_claim
    provisioning = Provisioning(
        recognition.identities,
        recognition.directory,
        tenant=recognition.security.fallback_tenant,
        clock=request.app[CLOCK],
    )
    groups = groups_in(proven.claims, path) if path else None
    way = f"OIDC:{provider.client.name}"
    with recognition.notes.trail(way):
        user_id = await provisioning.logged_in(arrival_by_oidc(proven), groups)
    user = recognition.identities.user(user_id)
    home = f"{request.app[SITE].context_path}/ui/"
    answer = web.Response(status=302, headers={"Location": home, "Cache-Control": "no-store"})
    answer.del_cookie(_COOKIE, path=_path(request))
    name = user_id if user is None else user.email
    return await opened(request, recognition, user_id, name, way=way, answer=answer)


def _provider(request: web.Request) -> OidcProvider:
    provider = request.app[PROVIDERS].get(request.match_info["provider"])
    if provider is None:
        raise not_found("the provider")
    return provider


def _attempt(request: web.Request) -> Attempt | None:
    content = request.cookies.get(_COOKIE, "")
    if not content or len(content) > _LONGEST_COOKIE:
        return None
    try:
        parts = msgspec.json.decode(bytes.fromhex(content), type=tuple[str, str, str, str])
    except (ValueError, msgspec.MsgspecError):
        return None
    return Attempt(provider=parts[0], state=parts[1], nonce=parts[2], verifier=parts[3])


def _path(request: web.Request) -> str:
    return f"{request.app[SITE].context_path}/oauth"
