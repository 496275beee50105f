"""The file of contexts: addresses and logins of servers by a name (CTL-2).  YAML in, contexts out, and back again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from flowtide.errors import FlowtideError

_PLACES = (".flowtidectl", ".kestractl")
_NAME = "config.yaml"
TOKEN, BASIC = "token", "basicAuth"


class ContextsUnusable(FlowtideError):
    """The file of contexts cannot be read, or has not what is asked of it."""

    code = "contexts-unusable"


@dataclass(frozen=True, kw_only=True)
class Context:
    """A server, and who one is there."""

    host: str
    tenant: str
    auth_method: str = TOKEN  # token or basicAuth
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def document(self) -> dict[str, str]:
        """As the file has it."""
        found: dict[str, str | None] = {
            "host": self.host,
            "tenant": self.tenant,
            "auth_method": self.auth_method,
        }
        if self.auth_method == BASIC:
            found |= {"username": self.username, "password": self.password}
        else:
            found["token"] = self.token
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Contexts:
    """All contexts by name, and which one is meant when none is named."""

    contexts: Mapping[str, Context] = field(default_factory=dict)
    default: str | None = None

    def named(self, name: str) -> Context:
        """The context of this name.  Raises ContextsUnusable when there is none."""
        found = self.contexts.get(name)
        if found is None:
            known = ", ".join(sorted(self.contexts)) or "none"
            raise ContextsUnusable(
                f"there is no context `{name}`; there are {known}. Make it with `flowtidectl config add`"
            )
        return found

    def with_context(self, name: str, context: Context, *, default: bool) -> Contexts:
        """With one more, or another one of this name; the first one is the default always."""
        chosen = name if default or not self.contexts else self.default
        return Contexts(contexts={**self.contexts, name: context}, default=chosen)

    def without(self, name: str) -> Contexts:
        """Without one.  Raises ContextsUnusable when there is none of this name."""
        self.named(name)
        rest = {each: context for each, context in self.contexts.items() if each != name}
        return Contexts(contexts=rest, default=None if self.default == name else self.default)

    def using(self, name: str) -> Contexts:
        """With another default.  Raises ContextsUnusable when there is none of this name."""
        self.named(name)
        return replace(self, default=name)


def own_file(home: Path) -> Path:
    """Where contexts are written to."""
    return home / _PLACES[0] / _NAME


def found_file(home: Path) -> Path:
    """Where contexts are read from: our own file, or kestractl's where that is the only one."""
    for place in _PLACES:
        if (home / place / _NAME).exists():
            return home / place / _NAME
    return own_file(home)


def read_contexts(path: Path) -> Contexts:
    """What the file has; nothing when it is not there.  Raises ContextsUnusable."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Contexts()
    except (OSError, UnicodeDecodeError) as error:
        raise ContextsUnusable(f"{path} cannot be read: {error}") from None
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # not the text, which may have a token in it
        place = f", line {mark.line + 1}" if mark is not None else ""
        raise ContextsUnusable(f"{path}{place}: this is no YAML; mend it or remove the file") from None
    given = document.get("contexts") or {} if isinstance(document, dict) else None
    if not isinstance(given, dict):
        raise ContextsUnusable(f"{path}: `contexts` must be a map of names and contexts")
    default = document.get("default_context")
    contexts = {str(name): _context(path, str(name), each) for name, each in given.items()}
    return Contexts(contexts=contexts, default=None if default is None else str(default))


def write_contexts(path: Path, contexts: Contexts) -> None:
    """Write the file whole or not at all, for nobody but its owner to read.  Raises OSError."""
    document: dict[str, Any] = {
        "contexts": {name: context.document() for name, context in contexts.contexts.items()}
    }
    if contexts.default is not None:
        document["default_context"] = contexts.default
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".config-")  # readable by its owner only
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yaml.safe_dump(document, file, sort_keys=False, allow_unicode=True)
        Path(unfinished).replace(path)
    finally:
        with suppress(FileNotFoundError):
            Path(unfinished).unlink()


def _context(path: Path, name: str, document: Any) -> Context:
    if not isinstance(document, dict) or not document.get("host"):
        raise ContextsUnusable(f"{path}: the context `{name}` needs a `host`")
    known = {"host", "tenant", "auth_method", "token", "username", "password"}
    values = {key: str(value) for key, value in document.items() if key in known and value is not None}
    values.setdefault("tenant", "main")
    method = values.setdefault("auth_method", BASIC if "username" in values else TOKEN)
    if method not in (TOKEN, BASIC):
        raise ContextsUnusable(f"{path}: `auth_method` of the context `{name}` must be {TOKEN} or {BASIC}")
    return Context(**values)
