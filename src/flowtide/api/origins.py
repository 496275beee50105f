"""Which other origins are let in: configurations as Micronaut writes them in, values out (KEY-61).  No state.

`server.cors.enabled` alone lets every origin in without cookies; configurations name origins, and let those that they
name act with the cookies of whoever looks at them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowtide.errors import SettingsError

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_MAX_AGE_SECONDS = 1_800


@dataclass(frozen=True, kw_only=True)
class Origins:
    """One configuration: who is let in, and to do what."""

    names: tuple[str, ...] = ()  # empty, without a pattern: all
    pattern: re.Pattern[str] | None = None
    methods: tuple[str, ...] = _METHODS
    headers: tuple[str, ...] = ()  # empty: those that are asked for
    exposed: tuple[str, ...] = ()
    credentials: bool = True  # with cookies; only of origins that are named
    max_age_seconds: int = _MAX_AGE_SECONDS

    @property
    def is_named(self) -> bool:
        """Whether it says whom it lets in."""
        return bool(self.names) or self.pattern is not None

    def has(self, origin: str) -> bool:
        """Whether an origin is let in."""
        named = origin in self.names or (
            self.pattern is not None and self.pattern.fullmatch(origin) is not None
        )
        return named or not self.is_named


ANYBODY = Origins(credentials=False)


def origins_of(configurations: Mapping[str, Any]) -> tuple[Origins, ...]:
    """The configurations of the settings; without any, everybody.  Raises SettingsError."""
    return tuple(_read(name, value) for name, value in configurations.items()) or (ANYBODY,)


def origins_for(configured: Sequence[Origins], origin: str) -> Origins | None:
    """The first configuration that lets an origin in."""
    return next((each for each in configured if each.has(origin)), None)


def trusts(configured: Sequence[Origins], origin: str) -> bool:
    """Whether pages of an origin may act with cookies: the operator named it."""
    found = origins_for(configured, origin)
    return found is not None and found.is_named and found.credentials


def _read(name: str, value: Any) -> Origins:
    place = f"`micronaut.server.cors.configurations.{name}`"
    if not isinstance(value, Mapping):
        raise SettingsError([f"{place} must be an object"])
    plain = {re.sub(r"[-_]", "", str(key)).lower(): each for key, each in value.items()}
    known = {"allowedorigins", "allowedoriginsregex", "allowedmethods", "allowedheaders", "exposedheaders",
             "allowcredentials", "maxage"}  # fmt: skip  # reads better in two lines
    unknown = sorted(set(plain) - known)
    if unknown:
        raise SettingsError([f"{place} has no `{unknown[0]}`"])
    names = _texts(plain.get("allowedorigins"))
    pattern = plain.get("allowedoriginsregex")
    try:
        return Origins(
            names=tuple(each.rstrip("/") for each in names if each != "*"),
            pattern=None if pattern is None else re.compile(str(pattern)),
            methods=tuple(each.upper() for each in _texts(plain.get("allowedmethods"))) or _METHODS,
            headers=tuple(each for each in _texts(plain.get("allowedheaders")) if each != "*"),
            exposed=_texts(plain.get("exposedheaders")),
            credentials=str(plain.get("allowcredentials", True)).lower() == "true",
            max_age_seconds=int(plain.get("maxage", _MAX_AGE_SECONDS)),
        )
    except (re.error, ValueError) as error:
        raise SettingsError([f"{place}: {error}"]) from None


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(each.strip() for each in value.split(",") if each.strip())
    return tuple(str(each) for each in value)
