"""The settings of where requests of flows may go; the table of settings gathers them."""

from __future__ import annotations

from dataclasses import dataclass

from flowtide.settings.fields import setting


@dataclass(frozen=True, kw_only=True)
class Outbound:
    """Which hosts `http()`, the tasks and triggers of HTTP, and credentials may ask; by default all (SEC-11)."""

    allowed: tuple[str, ...] = setting(
        "http.outbound.allowed-hosts",
        (),
        "Names (`api.example.org`, `*.example.org`), addresses and networks (`10.0.0.0/8`) that requests may go to; "
        "none: to all.",
    )
    denied: tuple[str, ...] = setting(
        "http.outbound.denied-hosts",
        (),
        "Those that they may not go to, such as `169.254.169.254`; wins over what is allowed.",
    )
    deny_private: bool = setting(
        "http.outbound.deny-private-addresses",
        False,
        "Whether requests to addresses that are not of the public internet are refused, unless they are allowed.",
    )
