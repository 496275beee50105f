"""Providers of OpenID Connect as people write them in the settings."""

from __future__ import annotations

from typing import Any

import pytest

from flowtide.api.security import security_of
from flowtide.errors import SettingsError
from flowtide.services.identity.oidc import Proven, groups_in
from flowtide.settings import Settings

BASE = "micronaut.security.oauth2"


def loaded(options: dict[str, Any]) -> Any:
    """What the API makes of settings."""
    return security_of(Settings.load(environment={}, overrides=options))


def test_clients_are_read_in_both_spellings() -> None:
    """SSO-01: `client-id` and `clientId`, several clients, scopes as a list; secrets are not shown."""
    found = loaded(
        {
            f"{BASE}.enabled": True,
            f"{BASE}.clients.keycloak.client-id": "one",
            f"{BASE}.clients.keycloak.client-secret": "hidden-1",
            f"{BASE}.clients.keycloak.openid.issuer": "https://server/realms/realm",
            f"{BASE}.clients.okta.clientId": "two",
            f"{BASE}.clients.okta.clientSecret": "hidden-2",
            f"{BASE}.clients.okta.openid.issuer": "https://account.okta.com",
            f"{BASE}.clients.okta.scopes": ["openid", "groups"],
            "kestra.security.oidc.groups-claim-path": "realm.groups",
        }
    )
    clients = {each.name: each for each in found.oidc_clients}
    assert (clients["keycloak"].client_id, clients["okta"].client_id) == ("one", "two")
    assert (clients["okta"].client_secret, clients["okta"].scopes) == ("hidden-2", ("openid", "groups"))
    assert "hidden" not in repr(found)
    assert found.oidc_groups_claim == ("realm", "groups")


@pytest.mark.parametrize("missing", ["client-id", "openid.issuer"])
def test_a_client_that_cannot_work_is_refused_at_the_start(missing: str) -> None:
    """The message names the provider and the key."""
    options = {"client-id": "one", "client-secret": "s", "openid.issuer": "https://a.example.org"}
    del options[missing]
    with pytest.raises(SettingsError, match=missing):
        loaded({f"{BASE}.clients.a.{name}": value for name, value in options.items()})


def test_disabled_means_no_provider() -> None:
    """`enabled: false` leaves passwords only, whatever the clients are."""
    assert loaded({f"{BASE}.enabled": False, f"{BASE}.clients.a.client-id": "x"}).oidc_clients == ()


@pytest.mark.parametrize(
    ("claims", "path", "names"),
    [
        ({"groups": ["a", " b ", 3, ""]}, ("groups",), ["a", "b"]),
        ({"realm": {"groups": "one"}}, ("realm", "groups"), ["one"]),
        ({"https://a.org/groups": ["a"]}, ("https://a", "org/groups"), ["a"]),
        ({"realm": ["groups"]}, ("realm", "groups"), []),
        ({}, ("groups",), []),
    ],
)
def test_groups_stand_where_the_path_says(
    claims: dict[str, Any], path: tuple[str, ...], names: list[str]
) -> None:
    """SSO-05: dotted, or a claim with dots in its name; what is no name is no group."""
    assert groups_in(claims, path) == names


def test_an_address_of_any_directory_is_not_proof() -> None:
    """Everybody can open a directory at a provider for all, and write any address into it."""
    claims: dict[str, Any] = {"email": "boss@b.org"}
    assert Proven(provider="p", subject="s", claims=claims).email_owned
    assert not Proven(provider="p", subject="s", claims=claims, any_directory=True).email_owned
    claims["xms_edov"] = True
    assert Proven(provider="p", subject="s", claims=claims, any_directory=True).email_owned
