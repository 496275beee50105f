"""The settings of LDAP directories (LDAP-01): the tree below `micronaut.security.ldap` in, one LdapClient each out.

No state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from flowtide.errors import SettingsError
from flowtide.model.durations import parse_duration
from flowtide.services.identity.ldap import LdapClient

_ROOT: Final = "micronaut.security.ldap"
_KNOWN: Final = {
    "context": {
        "server", "manager-dn", "manager-password", "start-tls", "ca-file", "connect-timeout", "read-timeout",
        "factory", "properties",
    },
    "search": {"base", "filter", "attributes", "subtree"},
    "groups": {"enabled", "base", "filter", "filter-attribute", "attribute", "subtree"},
    "user-attributes": {"first-name", "last-name", "email"},
}  # fmt: skip  # reads better as a paragraph


def ldap_clients(value: Mapping[str, Any]) -> tuple[LdapClient, ...]:
    """The directories that are switched on.  Raises SettingsError with every problem."""
    problems: list[str] = []
    # `micronaut.security.ldap.enabled` speaks of all of them.
    if not _flag(value.get("enabled"), True, f"{_ROOT}.enabled", problems):
        return ()
    clients = []
    for name, options in value.items():
        if name == "enabled":
            continue
        place = f"{_ROOT}.{name}"
        if not isinstance(options, Mapping):
            problems.append(f"`{place}` must be an object")
            continue
        if not _flag(options.get("enabled"), True, f"{place}.enabled", problems):
            continue
        client = _client(name, options, place, problems)
        if client is not None:
            clients.append(client)
    if problems:
        raise SettingsError(problems)
    return tuple(clients)


def _client(name: str, options: Mapping[str, Any], place: str, problems: list[str]) -> LdapClient | None:
    parts: dict[str, Mapping[str, Any]] = {}
    for part, keys in _KNOWN.items():
        found = options.get(part, {})
        if not isinstance(found, Mapping):
            problems.append(f"`{place}.{part}` must be an object")
            found = {}
        parts[part] = found
        problems += [f"`{place}.{part}.{key}` is not known" for key in found if key not in keys]
    problems += [f"`{place}.{key}` is not known" for key in options if key not in (*_KNOWN, "enabled")]
    context, search, groups, names = (parts[part] for part in _KNOWN)
    server = context.get("server")
    if not isinstance(server, str) or not server.startswith(("ldap://", "ldaps://")):
        problems.append(f"`{place}.context.server` is needed: ldap://HOST:389 or ldaps://HOST:636")
        return None

    def text(tree: Mapping[str, Any], part: str, key: str, default: str) -> str:
        value = tree.get(key)
        if value is None:
            return default
        if isinstance(value, str) and (value.strip() or key == "base"):
            return value.strip()
        problems.append(f"`{place}.{part}.{key}` must be a text")
        return default

    def flag(tree: Mapping[str, Any], part: str, key: str, default: bool) -> bool:
        return _flag(tree.get(key), default, f"{place}.{part}.{key}", problems)

    def optional(key: str) -> str | None:
        value = context.get(key)
        return None if value is None else str(value)

    start_tls = flag(context, "context", "start-tls", False)
    if start_tls and server.startswith("ldaps://"):
        problems.append(f"`{place}.context.start-tls` is for ldap://; ldaps:// is encrypted from the start")
    if optional("manager-dn") is not None and not optional("manager-password"):
        problems.append(f"`{place}.context.manager-dn` needs `manager-password`")
    properties = context.get("properties", {})
    wanted = search.get("attributes", ())
    if isinstance(wanted, str):
        wanted = [each.strip() for each in wanted.split(",")]
    if not isinstance(wanted, Sequence) or not all(isinstance(each, str) and each for each in wanted):
        problems.append(f"`{place}.search.attributes` must be a list of texts")
        wanted = ()
    return LdapClient(
        name=name,
        server=server,
        manager_dn=optional("manager-dn"),
        manager_password=optional("manager-password"),
        start_tls=start_tls,
        ca_file=optional("ca-file"),
        connect_timeout=_timeout("connect", context, properties, place, LdapClient.connect_timeout, problems),
        read_timeout=_timeout("read", context, properties, place, LdapClient.read_timeout, problems),
        search_base=text(search, "search", "base", LdapClient.search_base),
        search_filter=text(search, "search", "filter", LdapClient.search_filter),
        search_subtree=flag(search, "search", "subtree", True),
        search_attributes=tuple(wanted),
        email_attribute=text(names, "user-attributes", "email", LdapClient.email_attribute),
        first_name_attribute=text(names, "user-attributes", "first-name", LdapClient.first_name_attribute),
        last_name_attribute=text(names, "user-attributes", "last-name", LdapClient.last_name_attribute),
        groups_enabled=flag(groups, "groups", "enabled", False),
        groups_base=text(groups, "groups", "base", LdapClient.groups_base),
        groups_filter=text(groups, "groups", "filter", LdapClient.groups_filter),
        groups_filter_attribute=text(
            groups, "groups", "filter-attribute", LdapClient.groups_filter_attribute
        ),
        groups_attribute=text(groups, "groups", "attribute", LdapClient.groups_attribute),
        groups_subtree=flag(groups, "groups", "subtree", True),
    )


def _flag(value: Any, default: bool, place: str, problems: list[str]) -> bool:
    if value is None:
        return default
    said = str(value).lower()
    if said not in ("true", "false"):
        problems.append(f"`{place}` must be true or false")
    return said == "true"


def _timeout(
    kind: str,
    context: Mapping[str, Any],
    properties: Any,
    place: str,
    default: timedelta,
    problems: list[str],
) -> timedelta:
    """`connect-timeout` as a duration, or Java's `properties.com.sun.jndi.ldap.connect.timeout` in milliseconds."""
    given: Any = context.get(f"{kind}-timeout")
    try:
        if given is not None:
            found = parse_duration(str(given))
        else:
            for step in ("com", "sun", "jndi", "ldap", kind, "timeout"):
                properties = properties.get(step) if isinstance(properties, Mapping) else None
            if properties is None:
                return default
            found = timedelta(milliseconds=int(str(properties)))
    except (ValueError, OverflowError):
        found = timedelta(0)
    if not timedelta(0) < found <= timedelta(minutes=5):
        problems.append(
            f"`{place}.context.{kind}-timeout` must be a duration of at most five minutes, such as PT5S"
        )
        return default
    return found
