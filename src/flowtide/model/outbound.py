"""Where the requests of flows may go: hosts and addresses in, leave or OutboundRefused out.

By default everywhere.  The rules hold for each hop of a redirect, and the address is that which is connected to, so
that a name that is resolved again leads nowhere else (DNS rebinding).
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Answer = TypeVar("_Answer")
_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?")
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # of carriers; Python calls it neither private nor global
_EMBEDDED = ipaddress.ip_network("64:ff9b::/96")  # an IPv4 address behind NAT64


class OutboundRefused(OSError):
    """The operator's rules do not let requests go there.  Clients show an OSError's second argument."""

    def __str__(self) -> str:
        return str(self.strerror)


class Asked(Protocol):
    """What of a client's request is looked at."""

    @property
    def url(self) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class OutboundRules:
    """What the operator allows.

    Entries of `allowed` and `denied` are names (`api.example.org`), names below one (`*.example.org`), addresses or
    networks (`10.0.0.0/8`).  With `allowed`, nothing else may be asked; `denied` wins.  `deny_private` refuses
    addresses that are not those of the public internet, unless `allowed` names their host or network.
    """

    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    deny_private: bool = False

    @classmethod
    def of(cls, allowed: Sequence[str], denied: Sequence[str], *, deny_private: bool) -> OutboundRules:
        """Rules as a person wrote them.  Raises ValueError for an entry that is neither a name nor a network."""
        for entry in (*allowed, *denied):
            if _network(entry) is None and _NAME.fullmatch(_plain(entry)) is None:
                raise ValueError(f"`{entry}` is neither the name of a host, nor an address, nor a network")
        return cls(
            allowed=tuple(_plain(each) for each in allowed),
            denied=tuple(_plain(each) for each in denied),
            deny_private=deny_private,
        )

    @property
    def is_open(self) -> bool:
        """Whether requests may go everywhere."""
        return not (self.allowed or self.denied or self.deny_private)

    def check_host(self, host: str) -> None:
        """Insist on a host as the address of a request names it.  Raises OutboundRefused."""
        if self.is_open:
            return
        name = _plain(host)
        address = _address(name)
        if address is not None:
            self.check_address(address, name)
            return
        if _names(self.denied, name):
            raise _refused(host)
        # With networks among what is allowed, the address decides as soon as it is known.
        if self.allowed and not _names(self.allowed, name) and not _networks(self.allowed):
            raise _refused(host)

    def check_address(self, address: _Address, name: str) -> None:
        """Insist on the address that the host `name` turned out to have.  Raises OutboundRefused."""
        address, name = _inner(address), _plain(name)
        if any(address in network for network in _networks(self.denied)) or _names(self.denied, name):
            raise _refused(name)
        named = _names(self.allowed, name) or any(address in each for each in _networks(self.allowed))
        if self.allowed and not named:
            raise _refused(name)
        if self.deny_private and not named and _is_private(address):
            raise _refused(name, "its address is not one of the public internet")

    def guard(self, *, proxy: str | None = None, trusts_proxy: bool = False) -> Guard:
        """What a client of its own is given, for one request and its redirects.

        `proxy` is the address of the proxy that it goes through.  One of the operator's is trusted: it may stand
        anywhere, and is what resolves names, so that `deny_private` sees addresses only that are written as such.
        """
        return Guard(self, proxy, trusts_proxy)


class Guard:
    """Watches one client: its requests by `admit`, a middleware, and its connections by `open_socket`.

    State: the host of the request that is under way.
    """

    def __init__(self, rules: OutboundRules, proxy: str | None, trusts_proxy: bool) -> None:
        self._rules = rules
        self._proxy = None if proxy is None else _plain(urlsplit(proxy).hostname or "")
        self._trusts_proxy = trusts_proxy
        self._host = ""

    async def admit(self, request: Asked, handler: Callable[[Any], Awaitable[_Answer]]) -> _Answer:
        """Let a request, or one hop of it, through.  Raises OutboundRefused."""
        self._host = _plain(request.url.host or "")
        self._rules.check_host(self._host)
        if self._proxy is not None and not self._trusts_proxy:
            self._rules.check_host(self._proxy)
        return await handler(request)

    def open_socket(self, address_info: Any) -> socket.socket:
        """The socket of a connection to this address.  Raises OutboundRefused."""
        family, kind, protocol, _, place = address_info
        address = _address(str(place[0]))
        if address is not None and not self._rules.is_open and not self._trusts_proxy:
            self._rules.check_address(address, self._host if self._proxy is None else self._proxy)
        return socket.socket(family=family, type=kind, proto=protocol)


OPEN = OutboundRules()


def proxy_of_surroundings(uri: str) -> str | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the process name for an address (SEC-18).

    A client's own reading of the surroundings would use logins of a `.netrc` besides.
    """
    parts = urlsplit(uri)
    address = getproxies_environment().get(parts.scheme)
    if not address or proxy_bypass(parts.hostname or ""):
        return None
    return address if "://" in address else f"http://{address}"


def refusal_of(error: BaseException | None) -> OutboundRefused | None:
    """The refusal that a client's error came of; clients wrap what connecting raises."""
    while error is not None and not isinstance(error, OutboundRefused):
        error = error.__cause__ or error.__context__
    return error


def _plain(text: str) -> str:
    """A name as names are compared: `Example.ORG.` is `example.org`."""
    return text.strip().strip("[]").casefold().rstrip(".")


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(_plain(text), strict=False)
    except ValueError:
        return None


def _networks(entries: Sequence[str]) -> list[_Network]:
    return [found for entry in entries if (found := _network(entry)) is not None]


def _names(entries: Sequence[str], name: str) -> bool:
    return any(
        name == entry or (entry.startswith("*.") and name.endswith(entry[1:])) for entry in entries if name
    )


def _inner(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 one stands for, where it does: it is what is reached."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return inner
        if address in _EMBEDDED:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_private(address: _Address) -> bool:
    return not address.is_global or address.is_multicast or address in _SHARED


def _refused(name: str, why: str = "the operator's rules do not allow it") -> OutboundRefused:
    return OutboundRefused(
        errno.EACCES,
        f"requests to {name[:200]} are refused: {why}; see the settings `http.outbound.*` of the server",
    )
