"""The providers of OpenID Connect that this application knows, and the addresses that they send browsers back to.

State: the providers, with their discovery documents.
"""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from flowtide.api.keys import SITE
from flowtide.errors import LoginRefused
from flowtide.services.identity.oidc import OidcProvider

PROVIDERS: web.AppKey[dict[str, OidcProvider]] = web.AppKey("oidc_providers")  # absent without any


def public_root(request: web.Request) -> str:
    """The address of this server as browsers know it, with the context path and without a last slash."""
    site = request.app[SITE]
    if site.url is not None:
        root = site.url.rstrip("/")
        if site.context_path and not root.endswith(site.context_path):
            root += site.context_path
        return root
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme).partition(",")[0].strip()
    return f"{'https' if scheme == 'https' else 'http'}://{request.host}{site.context_path}"


def redirect_uri(request: web.Request, provider: OidcProvider) -> str:
    """The address that the provider sends the browser back to; it takes only those that it was told (SSO-02)."""
    return f"{public_root(request)}/oauth/callback/{quote(provider.client.name)}"


async def logout_address(request: web.Request, way: str) -> str | None:
    """Where a browser goes on to log out of the provider, too, which sends it back to `/logout`; None without one."""
    kind, _, name = way.partition(":")
    provider = request.app.get(PROVIDERS, {}).get(name) if kind == "OIDC" else None
    if provider is None:
        return None
    try:
        return await provider.end_session(f"{public_root(request)}/logout")
    except LoginRefused:
        return None  # the provider is away: one is logged out here all the same
