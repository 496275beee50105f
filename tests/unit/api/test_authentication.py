"""Basic authentication: header or cookie in, the user's name out, or 401."""

from __future__ import annotations

from base64 import b64encode

import pytest

from flowtide.api.authentication import Authentication, StoredCredentials, validation_errors
from flowtide.api.problems import Problem

USERNAME, PASSWORD = "admin@example.org", "Admin1234"


class Store:
    """Keeps the login in memory, and counts how often it was asked."""

    def __init__(self) -> None:
        self.stored: StoredCredentials | None = None

    def load(self) -> StoredCredentials | None:
        """What is stored."""
        return self.stored

    async def store(self, credentials: StoredCredentials) -> bool:
        """Store the first one."""
        if self.stored is not None:
            return False
        self.stored = credentials
        return True


def header(username: str = USERNAME, password: str = PASSWORD) -> str:
    """The header of a login."""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


async def test_the_configured_login_wins_over_the_stored_one() -> None:
    """Configured credentials are the way back in when the stored ones are lost (SEC-3)."""
    store = Store()
    await Authentication(store, hash_rounds=4).set_up("other@example.org", "Other1234")
    authentication = Authentication(store, username=USERNAME, password=PASSWORD)
    assert await authentication.user(header(), None) == USERNAME
    with pytest.raises(Problem):
        await authentication.user(header("other@example.org", "Other1234"), None)
    with pytest.raises(Problem) as refused:
        await authentication.set_up(USERNAME, PASSWORD)
    assert refused.value.status == 409


async def test_the_stored_password_is_a_hash_and_is_checked_once() -> None:
    """The store sees no password; a verified header is remembered until the login changes."""
    store = Store()
    authentication = Authentication(store, hash_rounds=4)
    await authentication.set_up(USERNAME, PASSWORD)
    assert store.stored is not None
    assert PASSWORD not in store.stored.password_hash
    assert await authentication.user(header(), None) == USERNAME
    assert await authentication.user(None, header().removeprefix("Basic ")) == USERNAME
    store.stored = StoredCredentials(username=USERNAME, password_hash=store.stored.password_hash[:-2] + "xx")
    with pytest.raises(Problem):
        await authentication.user(header(), None)


@pytest.mark.parametrize(
    "value", [None, "", "Basic", "Basic %%", "Basic bm9jb2xvbg==", "Bearer x", "Basic " + "a" * 9999]
)
async def test_anything_else_is_refused(value: str | None) -> None:
    """No header, an unreadable one, another scheme: 401 with a challenge."""
    authentication = Authentication(Store(), username=USERNAME, password=PASSWORD)
    with pytest.raises(Problem) as refused:
        await authentication.user(value, None)
    assert refused.value.status == 401
    assert refused.value.headers is not None


def test_incomplete_credentials_are_none_and_poor_ones_an_error() -> None:
    """Only both together are a login (SEC-2); a configured name must be an e-mail address (SEC-4)."""
    assert not Authentication(Store(), username=USERNAME).is_set_up
    with pytest.raises(ValueError, match="e-mail"):
        Authentication(Store(), username="admin", password=PASSWORD)


@pytest.mark.parametrize(
    ("username", "password", "wrong"),
    [
        (USERNAME, PASSWORD, 0),
        ("admin", "short", 2),
        ("a@b", PASSWORD, 1),
        ("a:b@example.org", PASSWORD, 1),
        (USERNAME, "alllower1", 1),
        (USERNAME, "Aa1" + "x" * 80, 1),
    ],
)
def test_logins_are_judged(username: str, password: str, wrong: int) -> None:
    """An e-mail address, and a password that is not poor."""
    assert len(validation_errors(username, password)) == wrong
