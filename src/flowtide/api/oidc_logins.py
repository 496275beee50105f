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
from flowtide.api.problems import not_found
from flowtide.api.recognition import RECOGNITION
from flowtide.errors import LoginRefused
from flowtide.services.identity.oidc import Attempt, OidcProvider, groups_in
from flowtide.services.identity.provisioning import Provisioning

_COOKIE = "OIDC_LOGIN"
_COOKIE_SECONDS = 600
_LONGEST_COOKIE = 2_000
PROVIDERS: web.AppKey[dict[str, OidcProvider]] = web.AppKey("oidc_providers")


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
    address, attempt = await provider.begin(_redirect_uri(request, provider))
    answer = web.Response(status=302, headers={"Location": address, "Cache-Control": "no-store"})
    content = msgspec.json.encode([attempt.provider, attempt.state, attempt.nonce, attempt.verifier])
    answer.set_cookie(
        _COOKIE,
        content.hex(),
        path=_path(request),
        max_age=_COOKIE_SECONDS,
        httponly=True,
        secure=_redirect_uri(request, provider).startswith("https:"),
        samesite="Lax",
    )
    return answer


async def finish(request: web.Request) -> web.StreamResponse:
    """Take the provider's code, and open a session for whom it is of."""
    provider, recognition = _provider(request), request.app[RECOGNITION]
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
    proven = await provider.finish(attempt, code, _redirect_uri(request, provider))
    if proven.email is not None and EMAIL.fullmatch(proven.email) is None:
        raise LoginRefused(f"{provider.client.name} gave an e-mail address that is none")
    path = recognition.security.oidc_groups_claim
    provisioning = Provisioning(
        recognition.identities,
        recognition.directory,
        tenant=recognition.security.fallback_tenant,
        clock=request.app[CLOCK],
    )
    user_id = await provisioning.logged_in(proven, groups_in(proven.claims, path) if path else None)
    user = recognition.identities.user(user_id)
    home = f"{request.app[SITE].context_path}/ui/"
    answer = web.Response(status=302, headers={"Location": home, "Cache-Control": "no-store"})
    answer.del_cookie(_COOKIE, path=_path(request))
    name = user_id if user is None else user.email
    way = f"OIDC:{provider.client.name}"
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


def _redirect_uri(request: web.Request, provider: OidcProvider) -> str:
    """The address that the provider sends the browser back to; it takes only those that it was told."""
    site = request.app[SITE]
    if site.url is not None:
        root = site.url.rstrip("/")
        if site.context_path and not root.endswith(site.context_path):
            root += site.context_path
    else:
        scheme = request.headers.get("X-Forwarded-Proto", request.scheme).partition(",")[0].strip()
        root = f"{'https' if scheme == 'https' else 'http'}://{request.host}{site.context_path}"
    return f"{root}/oauth/callback/{quote(provider.client.name)}"
