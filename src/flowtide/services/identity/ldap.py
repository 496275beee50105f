"""LDAP directories (LDAP-01 to LDAP-04): a name and a password in, what the directory says of the person out.

A service account searches for the person, then their own password is tried on the entry that was found.  State: four
threads of its own for all calls, because the client library blocks.
"""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import partial
from math import ceil
from typing import Any, Final

import structlog

from flowtide.errors import DirectoryUnavailable, SettingsError

_THREADS: Final = 4
_MOST_GROUPS: Final = 1_000
_LONGEST_NAME: Final = 256
_DISTINGUISHED: Final = "dn"
# What stays when somebody's entry is renamed; which of them there is depends on the directory.
_LASTING: Final = ("entryUUID", "objectGUID", "nsUniqueId")

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class LdapClient:
    """One directory as the operator set it up; defaults are those of Micronaut where it has the key (page 100)."""

    name: str
    server: str  # ldap://host:389, or ldaps://host:636
    manager_dn: str | None = None  # None: the search is made anonymously
    manager_password: str | None = field(default=None, repr=False)
    start_tls: bool = False  # asks for TLS on an `ldap://` connection before anything else
    ca_file: str | None = None  # None: the certificates that this machine trusts
    connect_timeout: timedelta = timedelta(seconds=5)
    read_timeout: timedelta = timedelta(seconds=10)
    search_base: str = ""
    search_filter: str = "(uid={0})"
    search_subtree: bool = True
    search_attributes: tuple[str, ...] = ()  # empty: all
    email_attribute: str = "mail"
    first_name_attribute: str = "givenName"
    last_name_attribute: str = "sn"
    groups_enabled: bool = False
    groups_base: str = ""
    groups_filter: str = "(uniquemember={0})"
    groups_filter_attribute: str = _DISTINGUISHED  # which of the person's attributes the filter is asked with
    groups_attribute: str = "cn"  # what names a group
    groups_subtree: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Somebody whose password the directory took."""

    directory: str
    subject: str  # what the directory knows them by
    email: str | None
    first_name: str | None
    last_name: str | None
    groups: tuple[str, ...] | None  # None: groups are not asked for


class Refusal(StrEnum):
    """Why somebody does not come in by a directory."""

    UNKNOWN = "unknown"  # the search finds nobody
    WRONG = "wrong"  # the password is wrong, or the directory has locked or disabled the entry


class LdapDirectory:
    """Asks one directory.  Raises SettingsError when the library for it is not installed or the filters are wrong."""

    def __init__(self, client: LdapClient) -> None:
        self.client = client
        self._library = _library()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"ldap-{client.name}")
        for key, text in (("search.filter", client.search_filter), ("groups.filter", client.groups_filter)):
            self._check(key, text)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def login(self, name: str, password: str) -> Person | Refusal:
        """Who this is.  Raises DirectoryUnavailable when the directory cannot be asked."""
        # A directory takes an empty password for an anonymous visitor and says yes (RFC 4513, 5.1.2).
        if not password or not name or len(name) > _LONGEST_NAME or "\0" in name + password:
            return Refusal.WRONG
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._login, name, password)

    # In a thread.

    def _login(self, name: str, password: str) -> Person | Refusal:
        library, client = self._library, self.client
        try:
            with self._connection(client.manager_dn, client.manager_password) as manager:
                if not self._opened(manager):
                    raise DirectoryUnavailable(
                        f"the directory `{client.name}` does not take `context.manager-dn` with its password"
                    )
                found = self._person(manager, name)
                if found is None:
                    return Refusal.UNKNOWN
                entry_dn, attributes = found
                with self._connection(entry_dn, password) as own:
                    if not self._opened(own):
                        return Refusal.WRONG
                groups = self._groups(manager, entry_dn, attributes) if client.groups_enabled else None
        except (library.core.exceptions.LDAPExceptionError, OSError) as error:
            # The name of the error says enough; its text may hold what was sent.
            logger.warning("a directory cannot be asked", directory=client.name, error=type(error).__name__)
            raise DirectoryUnavailable(
                f"the directory `{client.name}` cannot be asked: {type(error).__name__}"
            ) from error
        return Person(
            directory=client.name,
            subject=next(
                (text for each in _LASTING if (text := _first(attributes, each))), entry_dn.casefold()
            ),
            email=_first(attributes, client.email_attribute),
            first_name=_first(attributes, client.first_name_attribute),
            last_name=_first(attributes, client.last_name_attribute),
            groups=groups,
        )

    @contextmanager
    def _connection(self, user: str | None, password: str | None) -> Iterator[Any]:
        library, client = self._library, self.client
        tls = library.Tls(validate=ssl.CERT_REQUIRED)
        # The library's own check of host names stands on a function that Python gave up.
        tls.wrap_socket = partial(_encrypt, client.ca_file)
        server = library.Server(
            client.server,
            tls=tls,
            get_info=library.NONE,
            connect_timeout=client.connect_timeout.total_seconds(),
        )
        connection = library.Connection(
            server,
            user=user,
            password=password,
            authentication=library.ANONYMOUS if user is None else library.SIMPLE,
            receive_timeout=self._read_seconds,
            auto_referrals=False,  # a referral would carry passwords to wherever it points
            check_names=False,
            read_only=True,
            raise_exceptions=False,
        )
        try:
            yield connection
        finally:
            with suppress(library.core.exceptions.LDAPExceptionError, OSError):
                connection.unbind()
            if connection.socket is not None:  # the library leaves those open that never worked
                connection.socket.close()

    @property
    def _read_seconds(self) -> int:
        return max(1, ceil(self.client.read_timeout.total_seconds()))  # the library takes whole seconds

    def _opened(self, connection: Any) -> bool:
        """Whether the directory took the connection's name and password."""
        connection.open()
        if self.client.start_tls and not connection.start_tls():
            raise DirectoryUnavailable(f"the directory `{self.client.name}` does not offer StartTLS")
        return bool(connection.bind())

    def _person(self, manager: Any, name: str) -> tuple[str, Mapping[str, Sequence[Any]]] | None:
        client, library = self.client, self._library
        wanted: Any = library.ALL_ATTRIBUTES
        if client.search_attributes:
            more = (client.email_attribute, client.first_name_attribute, client.last_name_attribute)
            wanted = [*client.search_attributes, *more]
            if client.groups_filter_attribute.lower() != _DISTINGUISHED:
                wanted.append(client.groups_filter_attribute)
            wanted = list(dict.fromkeys(wanted))
        else:
            wanted = [wanted]
        entries = self._entries(
            manager,
            client.search_base,
            client.search_filter,
            name,
            client.search_subtree,
            [*wanted, *_LASTING],
        )
        if len(entries) > 1:
            logger.warning("a login name finds several entries, so it finds nobody", directory=client.name)
        return entries[0] if len(entries) == 1 else None

    def _groups(
        self, manager: Any, entry_dn: str, attributes: Mapping[str, Sequence[Any]]
    ) -> tuple[str, ...]:
        client = self.client
        if client.groups_filter_attribute.lower() == _DISTINGUISHED:
            values = [entry_dn]
        else:
            values = _texts(attributes, client.groups_filter_attribute)
        names: dict[str, None] = {}
        for value in values:
            for _, group in self._entries(
                manager,
                client.groups_base,
                client.groups_filter,
                value,
                client.groups_subtree,
                [client.groups_attribute],
            ):
                found = _first(group, client.groups_attribute)
                if found is not None and len(found) <= _LONGEST_NAME:
                    names[found] = None
        return tuple(names)[:_MOST_GROUPS]

    def _entries(
        self, connection: Any, base: str, template: str, value: str, subtree: bool, attributes: list[Any]
    ) -> list[tuple[str, Mapping[str, Sequence[Any]]]]:
        library = self._library
        text = _parenthesized(template).replace("{0}", library.utils.conv.escape_filter_chars(value))
        connection.search(
            base,
            text,
            search_scope=library.SUBTREE if subtree else library.LEVEL,
            attributes=attributes,
            time_limit=self._read_seconds,
        )
        code = connection.result["result"]
        if code not in (0, 32):  # done, and no such base
            said = connection.result["description"]
            raise DirectoryUnavailable(f"the directory `{self.client.name}` refuses the search: {said}")
        return [
            (each["dn"], {name.lower(): values for name, values in each["raw_attributes"].items()})
            for each in connection.response or ()
            if each["type"] == "searchResEntry"
        ]

    def _check(self, key: str, text: str) -> None:
        place = f"`micronaut.security.ldap.{self.client.name}.{key}`"
        if "{0}" not in text:
            raise SettingsError([f"{place} needs `{{0}}`, where the login goes"])
        try:
            self._library.operation.search.parse_filter(
                _parenthesized(text).replace("{0}", "x"), None, False, False, None, False
            )
        except self._library.core.exceptions.LDAPExceptionError:
            raise SettingsError([f"{place} is no LDAP filter, such as (mail={{0}})"]) from None


def _encrypt(ca_file: str | None, connection: Any, do_handshake: bool = True) -> None:
    """Put TLS around a connection's socket, with the server's certificate and name checked."""
    context = ssl.create_default_context(cafile=ca_file)
    connection.socket = context.wrap_socket(connection.socket, server_hostname=connection.server.host)


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of names that it takes from pyasn1
            import ldap3
            import ldap3.core.exceptions
            import ldap3.operation.search
            import ldap3.utils.conv
    except ImportError:
        raise SettingsError(
            ["logging in by `micronaut.security.ldap` needs a library: pip install 'flowtide[ldap]'"]
        ) from None
    return ldap3


def _parenthesized(text: str) -> str:
    """A filter in parentheses; the outer braces that page 100 shows are a slip for them (LDAP-02)."""
    text = text.strip()
    if text.startswith("{") and text.endswith("}") and not text.startswith("{0}"):
        return f"({text[1:-1]})"
    return text if text.startswith("(") else f"({text})"


def _texts(attributes: Mapping[str, Sequence[Any]], name: str) -> list[str]:
    found = []
    for value in attributes.get(name.lower(), ()):
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError:
                value = value.hex()  # as Active Directory's objectGUID
        text = str(value).strip()
        if text:
            found.append(text)
    return found


def _first(attributes: Mapping[str, Sequence[Any]], name: str) -> str | None:
    return next(iter(_texts(attributes, name)), None)
