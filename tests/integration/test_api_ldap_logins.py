"""Logging in by LDAP against a real OpenLDAP server: who gets in, as whom, in which groups, and who does not."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient

from flowtide.api.recognition import RECOGNITION
from flowtide.api.security import Security
from flowtide.errors import DirectoryUnavailable, SettingsError
from flowtide.services.identity import DefaultRole, Limits
from flowtide.services.identity.ldap import LdapClient, LdapDirectory, Person, Refusal
from tests.integration.api_system import System, running
from tests.integration.test_api_identities import PASSWORD, asked, basic

BASE = "dc=example,dc=org"
USERS, GROUPS = f"ou=users,{BASE}", f"ou=groups,{BASE}"
SERVICES = Path(__file__).parents[2] / "deploy" / "services"


@pytest.fixture(scope="module")
def address(ldap_address: str) -> str:
    """`ldap://host:port` of a server with the people of deploy/services/ldap/people.ldif."""
    return ldap_address


@pytest.fixture
def authority() -> str:
    """The file of the certificate that the server shows."""
    return os.environ["FLOWTIDE_TEST_LDAP_CA"]


def directory(address: str, **changed: Any) -> LdapClient:
    """The directory as page 100 sets it up, with groups by DN."""
    options: dict[str, Any] = {
        "name": "default",
        "server": address,
        "manager_dn": f"cn=reader,{BASE}",
        "manager_password": "reading",
        "search_base": USERS,
        "search_filter": "(&(|(mail={0})(uid={0}))(!(employeeType=disabled)))",
        "search_attributes": ("uid", "givenName", "sn", "mail"),
        "groups_enabled": True,
        "groups_base": GROUPS,
        "groups_filter": "(&(objectClass=groupOfNames)(member={0}))",
    }
    return LdapClient(**{**options, **changed})


@contextmanager
def changed(address: str, ldif: str, back: str) -> Iterator[None]:
    """Change the directory until the block ends."""

    def apply(text: str) -> None:
        command = ["ldapmodify", "-x", "-H", address, "-D", f"cn=admin,{BASE}", "-w", "secret"]
        subprocess.run(command, input=text.encode(), check=True, capture_output=True)

    apply(ldif)
    try:
        yield
    finally:
        apply(back)


@asynccontextmanager
async def together(folder: Path, *clients: LdapClient, **options: Any) -> AsyncIterator[tuple[System, Any]]:
    """An application with these directories, and a browser."""
    security = Security(directories=clients, hash_rounds=4, **options)
    async with running(folder, with_executor=False, security=security) as system:
        browser: Any = TestClient(system.client.server, cookie_jar=CookieJar(unsafe=True))
        try:
            yield system, browser
        finally:
            await browser.session.close()


async def log_in(browser: Any, name: str, password: str = PASSWORD, expected: int = 200) -> Any:
    """Log in by name and password."""
    return await asked(browser, "POST", "/login", expected, json={"username": name, "password": password})


async def groups_of(client: Any, user_id: str) -> set[str]:
    """The names of a user's groups."""
    access = await asked(client, "GET", f"/api/v1/main/tenant-access/{user_id}")
    return {each["name"] for each in access["groups"]}


async def test_a_first_login_makes_the_user_and_each_one_brings_what_changed(
    tmp_path: Path, address: str
) -> None:
    """LDAP-01, LDAP-03 to LDAP-05: names, groups that are made or joined, the default role; and all anew each time."""
    role = DefaultRole(name="Everybody", permissions={})
    async with together(tmp_path, directory(address), default_role=role) as (system, browser):
        made = await asked(
            system.client, "POST", "/api/v1/main/groups", json={"name": "writers", "description": "ours"}
        )
        await log_in(browser, "ada")
        me = await asked(browser, "GET", "/api/v1/me")
        assert me["profile"] == {
            "email": "ada@example.org", "firstName": "Ada", "lastName": "Lovelace", "username": "ada@example.org",
        }  # fmt: skip  # reads better as a paragraph
        assert [each["type"] for each in me["auths"]] == ["LDAP"]
        assert await groups_of(system.client, me["id"]) == {"operators", "writers"}
        access = await asked(system.client, "GET", f"/api/v1/main/tenant-access/{me['id']}")
        assert [each["name"] for each in access["roles"]] == ["Everybody"]
        members = await asked(system.client, "GET", f"/api/v1/main/groups/{made['id']}/members")
        assert [each["id"] for each in members["results"]] == [me["id"]]
        own = await asked(system.client, "POST", "/api/v1/main/groups", json={"name": "by hand"})
        await asked(system.client, "PUT", f"/api/v1/main/groups/{own['id']}/members/{me['id']}")
        ada, writers = f"uid=ada,{USERS}", f"cn=writers,{GROUPS}"
        leave = (
            f"dn: {writers}\nchangetype: modify\nadd: member\nmember: uid=bob,{USERS}\n-\n"
            f"delete: member\nmember: {ada}\n\n"
            f"dn: {ada}\nchangetype: modify\nreplace: sn\nsn: King\n-\nreplace: mail\nmail: king@example.org\n"
        )
        back = (
            f"dn: {writers}\nchangetype: modify\nadd: member\nmember: {ada}\n-\n"
            f"delete: member\nmember: uid=bob,{USERS}\n\n"
            f"dn: {ada}\nchangetype: modify\nreplace: sn\nsn: Lovelace\n-\nreplace: mail\nmail: ada@example.org\n"
        )
        with changed(address, leave, back):
            assert await groups_of(system.client, me["id"]) == {"operators", "writers", "by hand"}
            await log_in(browser, "king@example.org")
            again = await asked(browser, "GET", "/api/v1/me")
            assert (again["id"], again["profile"]["lastName"]) == (me["id"], "King")
            assert again["profile"]["email"] == "king@example.org"
            assert await groups_of(system.client, me["id"]) == {"operators", "by hand"}


async def test_groups_are_found_by_an_attribute_of_the_person(tmp_path: Path, address: str) -> None:
    """LDAP-02: `filter-attribute` says what the groups' filter is asked with, braces of the page included."""
    unix = directory(
        address, groups_filter="{&(objectClass=posixGroup)(memberUid={0})}", groups_filter_attribute="uid"
    )
    found = await _once(unix, "ada@example.org")
    assert isinstance(found, Person)
    assert found.groups == ("posix",)
    silent = directory(address, groups_filter_attribute="cn")
    found = await _once(silent, "ada@example.org")
    assert isinstance(found, Person)
    assert found.groups == ()
    off = await _once(directory(address, groups_enabled=False), "ada")
    assert isinstance(off, Person)
    assert off.groups is None


async def _once(client: LdapClient, name: str, password: str = PASSWORD) -> Person | Refusal:
    asked_one = LdapDirectory(client)
    try:
        return await asked_one.login(name, password)
    finally:
        asked_one.close()


@pytest.mark.parametrize(
    "name",
    ["*", "a*", "ada)(uid=*", "ada)(|(uid=*))", "(uid=ada)", "\\2a", "ada\\29", "ad\x00a", "", "x" * 300],
)
async def test_a_name_never_changes_the_filter(address: str, name: str) -> None:
    """What stands in a filter is escaped: no name finds somebody whose name it is not."""
    assert isinstance(await _once(directory(address), name), Refusal)


async def test_who_is_not_let_in(tmp_path: Path, address: str) -> None:
    """A wrong or empty password, an unknown, disabled or ambiguous name, and somebody without an address."""
    async with together(tmp_path, directory(address)) as (_, browser):
        for name, password in (
            ("ada", "wrong"), ("ada", ""), ("nobody", PASSWORD), ("left", PASSWORD), ("nomail", PASSWORD),
        ):  # fmt: skip  # a table
            await log_in(browser, name, password, 401)
        await asked(browser, "GET", "/api/v1/me", 401)
    many = directory(address, search_filter="(|(uid={0})(objectClass=inetOrgPerson))")
    assert await _once(many, "ada") is Refusal.UNKNOWN


async def test_who_was_here_before_logs_in_both_ways_and_the_configured_superadmin_only_by_the_configuration(
    tmp_path: Path, address: str
) -> None:
    """LDAP-03: the e-mail address says who it is; nobody who writes into the directory becomes the superadmin."""
    async with together(
        tmp_path, directory(address), superadmin_username="bob@example.org", superadmin_password="Boss1234"
    ) as (system, browser):
        body = {"email": "Ada@example.org", "password": "Other1234", "tenants": ["main"]}
        user = await asked(system.client, "POST", "/api/v1/users", 201, json=body)
        for password in ("Other1234", PASSWORD):
            await log_in(browser, "ada@example.org", password)
            me = await asked(browser, "GET", "/api/v1/me")
            assert me["id"] == user["id"]
        assert [each["id"] for each in me["auths"]] == ["BASIC", "LDAP"]
        await log_in(browser, "bob", PASSWORD, 401)
        await log_in(browser, "bob@example.org", PASSWORD, 401)
        await log_in(browser, "bob@example.org", "Boss1234")


async def test_several_directories_are_asked_and_one_that_is_away_says_so(
    tmp_path: Path, address: str
) -> None:
    """The first that takes the password counts; while one is away nobody is told that their password is wrong."""
    nobody = directory(address, name="empty", search_base=GROUPS)
    async with together(tmp_path, nobody, directory(address, name="second")) as (_, browser):
        await log_in(browser, "ada")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = directory(f"ldap://127.0.0.1:{closed.getsockname()[1]}", name="away")
        async with together(tmp_path, away, directory(address, name="second")) as (system, browser):
            await log_in(browser, "ada")
            refusal = await log_in(browser, "ada", "wrong", 503)
            assert "`away` cannot be asked" in refusal["message"]
            body = {"email": "u@example.org", "password": PASSWORD, "tenants": ["main"]}
            await asked(system.client, "POST", "/api/v1/users", 201, json=body)
            await log_in(browser, "u@example.org")


async def test_a_directory_that_says_nothing_is_given_up(address: str) -> None:
    """A server that takes the connection and never answers costs no more than the time-out."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = directory(f"ldap://127.0.0.1:{silent.getsockname()[1]}", read_timeout=timedelta(seconds=1))
        with pytest.raises(DirectoryUnavailable):
            await _once(client, "ada")


async def test_a_service_account_that_is_refused_is_the_operators_mistake(address: str) -> None:
    """It is said, and not taken for a wrong password of whoever logs in."""
    with pytest.raises(DirectoryUnavailable, match="manager-dn"):
        await _once(directory(address, manager_password="wrong"), "ada")


async def test_connections_are_encrypted_with_a_certificate_that_is_checked(
    address: str, authority: str
) -> None:
    """ldaps:// and StartTLS work with the right authority, and not without it."""
    port = int(address.rpartition(":")[2])
    for options in (
        {"server": f"ldaps://127.0.0.1:{port + 1}"},
        {"server": address, "start_tls": True},
    ):
        good = await _once(directory(address, **options, ca_file=authority), "ada")
        assert isinstance(good, Person)
        with pytest.raises(DirectoryUnavailable):
            await _once(directory(address, **options), "ada")


async def test_who_left_the_directory_loses_what_they_have_at_the_next_attempt(
    tmp_path: Path, address: str
) -> None:
    """LDAP-04, TRAP-45: sessions and tokens end; somebody with a password of ours keeps theirs."""
    async with together(tmp_path, directory(address)) as (system, browser):
        await log_in(browser, "bob")
        made = await asked(browser, "POST", "/api/v1/me/api-tokens", json={"name": "mine"})
        token = {"Authorization": f"Bearer {made['fullToken']}"}
        await asked(system.stranger, "GET", "/api/v1/me", headers=token)
        bob = f"dn: uid=bob,{USERS}\nchangetype: modify\n"
        off, on = f"{bob}add: employeeType\nemployeeType: disabled\n", f"{bob}delete: employeeType\n"
        with changed(address, off, on):
            await asked(system.stranger, "GET", "/api/v1/me", headers=token)
            await log_in(system.stranger, "bob", expected=401)
            await asked(system.stranger, "GET", "/api/v1/me", 401, headers=token)
            await asked(browser, "GET", "/api/v1/me", 401)


async def test_a_name_that_fails_too_often_is_locked_and_basic_asks_once(
    tmp_path: Path, address: str
) -> None:
    """AUTH-07 for people of a directory; HTTP Basic does not ask the directory at each request."""
    async with together(tmp_path, directory(address), limits=Limits(threshold=3)) as (system, browser):
        await asked(system.stranger, "GET", "/api/v1/me", headers=basic("ada"))
        app = system.client.app
        assert app is not None
        recognition = app[RECOGNITION]
        kept, recognition._directories = recognition._directories, ()  # private: no directory can answer now
        await asked(system.stranger, "GET", "/api/v1/me", headers=basic("ada"))
        recognition._directories = kept
        for _ in range(3):
            await log_in(browser, "bob", "wrong", 401)
        await log_in(browser, "bob", expected=401)
        await log_in(browser, "ada")


async def test_a_person_of_a_directory_has_no_password_to_change_here(tmp_path: Path, address: str) -> None:
    """Their password is the directory's; changing it here would make another one."""
    async with together(tmp_path, directory(address)) as (_, browser):
        await log_in(browser, "ada")
        body = {"oldPassword": PASSWORD, "newPassword": "Another123"}
        await asked(browser, "PUT", "/api/v1/me/password", 409, json=body)


@pytest.mark.parametrize("wrong", ["(uid=ada)", "(uid={0}", "uid={0})"])
async def test_a_filter_that_is_none_is_found_at_the_start(wrong: str) -> None:
    """The operator is told which key is wrong."""
    with pytest.raises(SettingsError, match=r"micronaut\.security\.ldap\.default\.search\.filter"):
        LdapDirectory(directory("ldap://127.0.0.1", search_filter=wrong))
