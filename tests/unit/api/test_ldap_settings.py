"""The settings of LDAP directories: the examples of page 100 and what is wrong with others."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import pytest

from flowtide.api.security import security_of
from flowtide.errors import SettingsError
from flowtide.services.identity.ldap import LdapClient, LdapDirectory
from flowtide.settings import Settings

UNIX = """
micronaut:
  security:
    ldap:
      default:
        user-attributes:
          firstName: givenName
          lastName: surname
          email: mailbox
        context:
          server: "ldap://localhost:389"
          manager-dn: "cn=admin,dc=example,dc=org"
          manager-password: "S3cret-of-ldap"
        search:
          base: "ou=users,dc=example,dc=org"
          filter: "(mail={0})"
          attributes:
            - "uid"
            - "mail"
        groups:
          enabled: true
          base: "ou=groups,dc=example,dc=org"
          filter: "{&(objectClass=posixGroup)(memberUid={0})}"
          filter-attribute: uid
      second:
        enabled: false
      third:
        context:
          server: ldaps://ad.example.org:636
          connectTimeout: PT2S
          properties:
            com.sun.jndi.ldap.read.timeout: 3500
        search:
          attributes: sAMAccountName, mail
          subtree: false
"""


def clients(document: str) -> tuple[LdapClient, ...]:
    """What the settings of a document say."""
    return security_of(Settings.load(environment={"KESTRA_CONFIGURATION": document})).directories


def test_the_keys_of_the_page_are_read() -> None:
    """LDAP-01, LDAP-02: kebab and camel case, names with dots below `properties`, defaults of Micronaut."""
    first, third = clients(UNIX)
    assert first == LdapClient(
        name="default",
        server="ldap://localhost:389",
        manager_dn="cn=admin,dc=example,dc=org",
        manager_password="S3cret-of-ldap",
        search_base="ou=users,dc=example,dc=org",
        search_filter="(mail={0})",
        search_attributes=("uid", "mail"),
        email_attribute="mailbox",
        first_name_attribute="givenName",
        last_name_attribute="surname",
        groups_enabled=True,
        groups_base="ou=groups,dc=example,dc=org",
        groups_filter="{&(objectClass=posixGroup)(memberUid={0})}",
        groups_filter_attribute="uid",
    )
    assert "S3cret-of-ldap" not in repr(first)
    assert third == LdapClient(
        name="third",
        server="ldaps://ad.example.org:636",
        connect_timeout=timedelta(seconds=2),
        read_timeout=timedelta(seconds=3.5),
        search_attributes=("sAMAccountName", "mail"),
        search_subtree=False,
    )
    assert (third.groups_filter, third.groups_filter_attribute) == ("(uniquemember={0})", "dn")
    LdapDirectory(first).close()


@pytest.mark.parametrize(
    ("context", "problem"),
    [
        ({}, "context.server` is needed"),
        ({"server": "http://x"}, "context.server` is needed"),
        ({"server": "ldap://x", "manager-dn": "cn=a"}, "needs `manager-password`"),
        ({"server": "ldaps://x", "start-tls": True}, "start-tls` is for ldap://"),
        ({"server": "ldap://x", "start-tls": "often"}, "must be true or false"),
        ({"server": "ldap://x", "read-timeout": "soon"}, "read-timeout` must be a duration"),
        ({"server": "ldap://x", "connect-timeout": "PT0S"}, "connect-timeout` must be a duration"),
        ({"server": "ldap://x", "port": 389}, "context.port` is not known"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_with_its_place(context: dict[str, Any], problem: str) -> None:
    """An operator sees the key; nothing that was misspelt is passed over."""
    lines = "".join(f"          {key}: {value}\n" for key, value in context.items())
    document = (
        f"micronaut:\n  security:\n    ldap:\n      x:\n        context:\n{lines}          factory: none\n"
    )
    with pytest.raises(SettingsError) as raised:
        clients(document)
    assert problem in str(raised.value)
    assert "micronaut.security.ldap.x" in str(raised.value)


def test_all_directories_are_switched_off_by_one_key() -> None:
    """`micronaut.security.ldap.enabled` speaks of all of them."""
    assert clients(UNIX.replace("    ldap:\n", "    ldap:\n      enabled: false\n")) == ()


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who configures LDAP without the extra is told what to install."""
    for name in [each for each in sys.modules if each.partition(".")[0] == "ldap3"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ldap3", None)
    with pytest.raises(SettingsError, match=r"flowtide\[ldap\]"):
        LdapDirectory(LdapClient(name="x", server="ldap://x"))
