"""What a route asks of its caller: the table of permissions in, a rule per method and path out.

A route that is not in the table is for superadmins only.  No state but the table as it was read.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from flowtide.api.permission_table import INSTANCE_TABLE, TENANT_TABLE
from flowtide.model.access import TENANT_WIDE, Action, Grants, Permission

_PARAMETER = re.compile(r"\{([A-Za-z]+)(?::[^}]*)?\}")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "*"})


class Caller(StrEnum):
    """Who may call at all."""

    OPEN = "open"  # everybody; the handler may ask for more
    LOGIN = "login"  # whoever is logged in
    TENANT = "tenant"  # whoever may enter the tenant; the handler may ask for more
    PERMITTED = "permitted"  # whoever has the permissions
    SUPERADMIN = "superadmin"


class Place(StrEnum):
    """Where it is said which namespace is acted on."""

    TENANT = "tenant"  # the whole tenant: a binding to a namespace is not enough
    PATH = "path"  # in the path
    EXECUTION = "execution"  # it is that of the execution in the path
    ROWS = "rows"  # in the body, or in what is found: the handler checks or filters (api/access.py)
    NOWHERE = "nowhere"  # nothing of a namespace is shown or changed


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """One permission that is needed."""

    permission: Permission
    actions: frozenset[Action]
    every: bool = True  # all of the actions, or one of them

    def met(self, grants: Grants, namespace: str | None) -> bool:
        """Whether the grants are enough in a namespace, with None in the whole tenant."""
        found = (grants.allows(self.permission, action, namespace) for action in self.actions)
        return all(found) if self.every else any(found)

    def met_somewhere(self, grants: Grants) -> bool:
        """Whether the grants are enough in the tenant or in some namespace."""
        found = (grants.allows_somewhere(self.permission, action) for action in self.actions)
        return all(found) if self.every else any(found)

    def __str__(self) -> str:
        if len(self.actions) == len(Action) and not self.every:
            return f"{self.permission} with any action"
        return f"{self.permission} {(' and ' if self.every else ' or ').join(sorted(self.actions))}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What one route asks of its caller."""

    method: str  # `*` for all
    path: str  # below `/api/v1`; `/**` at the end is everything there and below
    caller: Caller
    needs: tuple[Need, ...] = ()  # all of them; the first one says what rows are checked for
    rows: frozenset[Action] = frozenset()  # the actions that rows are checked for, all of them
    place: Place = Place.NOWHERE
    parameter: str = ""  # with Place.PATH, which part of the path


def normalized(path: str) -> str:
    """A path as it is compared: names of parameters do not matter, nor the later spelling with `/actions`."""
    return _PARAMETER.sub("{}", path).replace("/actions/", "/")


@cache
def rule_of(method: str, path: str) -> Rule | None:
    """The rule of a route by its method and its path below `/api/v1`; None when the table does not know it."""
    plain = normalized(path)
    exact, beginnings = _rules()
    found = exact.get((method, plain))
    if found is not None:
        return found
    for beginning, rule in beginnings:
        if rule.method in ("*", method) and (plain == beginning or plain.startswith(beginning + "/")):
            return rule
    return None


def all_rules() -> Iterator[Rule]:
    """Every rule in the order of the table."""
    yield from _tenant_rules()
    yield from _instance_rules()


@cache
def _rules() -> tuple[dict[tuple[str, str], Rule], list[tuple[str, Rule]]]:
    exact: dict[tuple[str, str], Rule] = {}
    beginnings: list[tuple[str, Rule]] = []
    for rule in all_rules():
        if rule.path.endswith("/**"):
            beginnings.append((normalized(rule.path.removesuffix("/**")), rule))
            continue
        key = (rule.method, normalized(rule.path))
        if key in exact:
            raise ValueError(f"the table of permissions has {rule.method} {rule.path} twice")
        exact[key] = rule
    return exact, sorted(beginnings, key=lambda each: -len(each[0]))


def _tenant_rules() -> Iterator[Rule]:
    block: Permission | None = None
    for line in TENANT_TABLE.splitlines():
        words = line.split()
        if not words:
            continue
        if line.startswith("["):
            block = Permission(line.strip("[]"))
            continue
        if block is None or len(words) != 3 or words[1] not in _METHODS or not words[2].startswith("/"):
            raise ValueError(f"the table of permissions has a line that cannot be read: {line!r}")
        yield _permitted(block, *words)


def _instance_rules() -> Iterator[Rule]:
    caller: Caller | None = None
    for line in INSTANCE_TABLE.splitlines():
        words = line.split()
        if not words:
            continue
        if line.startswith("["):
            caller = Caller(line.strip("[]"))
            continue
        if caller is None or len(words) != 2 or words[0] not in _METHODS or not words[1].startswith("/"):
            raise ValueError(f"the table of permissions has a line that cannot be read: {line!r}")
        yield Rule(method=words[0], path=words[1], caller=caller)


def _permitted(block: Permission, need: str, method: str, path: str) -> Rule:
    full = "/{tenant}" + path
    if need in ("open", "handler"):
        caller = Caller.OPEN if need == "open" else Caller.TENANT
        return Rule(method=method, path=full, caller=caller)
    asked, _, rows = need.partition("/")
    needs = tuple(_need(block, each) for each in asked.split("&"))
    checked = frozenset({Action(rows)}) if rows in Action.__members__ else needs[0].actions
    place, parameter = _place(needs[0].permission, path, rows, asked)
    return Rule(
        method=method,
        path=full,
        caller=Caller.PERMITTED,
        needs=needs,
        rows=checked,
        place=place,
        parameter=parameter,
    )


def _need(block: Permission, text: str) -> Need:
    name, colon, actions = text.rpartition(":")
    permission = Permission(name) if colon else block
    if actions == "ANY":
        return Need(permission=permission, actions=frozenset(Action), every=False)
    every = "|" not in actions
    chosen = frozenset(Action(each) for each in actions.split("+" if every else "|"))
    return Need(permission=permission, actions=chosen, every=every)


def _place(permission: Permission, path: str, rows: str, asked: str) -> tuple[Place, str]:
    if rows == "TENANT" or permission in TENANT_WIDE:
        return Place.TENANT, ""
    if rows == "NONE":
        return Place.NOWHERE, ""
    if "{namespace}" in path:
        return Place.PATH, "namespace"
    if path.startswith("/namespaces/{id}"):
        return Place.PATH, "id"
    if "{executionId}" in path:
        return Place.EXECUTION, ""
    if asked == "ANY" and not rows:
        return Place.NOWHERE, ""
    return Place.ROWS, ""


def reference() -> str:
    """The page of docs/reference that shows the table."""
    lines = [
        "# Permissions",
        "",
        "What each endpoint of the API asks of its caller. Generated from the table that the server itself asks",
        "(`src/flowtide/api/permission_table.py`) by `python -m flowtide.api.permissions FILE`.",
        "",
        "A role holds actions of permissions; a binding gives a role to a user, service account or group, in the",
        "whole tenant or in a namespace with all below it. *Where* says what a binding to a namespace is good for:",
        "*named* and *execution*: it counts when that namespace is the one of the path or of the execution; *rows*:",
        "lists show, and bulk requests change, only what is in it; *tenant*: it is not enough. Superadmins manage",
        "people in every tenant and see nothing else without a role.",
    ]
    title = None
    for rule in all_rules():
        heading = str(rule.needs[0].permission) if rule.needs else _CALLERS[rule.caller]
        if heading != title:
            title = heading
            lines += ["", f"## {title}", "", "| Method | Path | Needs | Where |", "|---|---|---|---|"]
        needs = "; ".join(map(str, rule.needs)) or "-"
        if rule.place is Place.ROWS and rule.needs and rule.rows != rule.needs[0].actions:
            needs += f", and {' and '.join(sorted(rule.rows))} of each row"
        where = _PLACES[rule.place] if rule.needs else "-"
        lines.append(f"| {rule.method} | `{_PREFIX}{rule.path}` | {needs} | {where} |")
    return "\n".join(lines) + "\n"


_PREFIX = "/api/v1"
_CALLERS = {
    Caller.OPEN: "Without a login",
    Caller.LOGIN: "Whoever is logged in",
    Caller.TENANT: "Whoever may enter the tenant",
    Caller.SUPERADMIN: "Superadmins",
}
_PLACES = {
    Place.TENANT: "tenant",
    Place.PATH: "named",
    Place.EXECUTION: "execution",
    Place.ROWS: "rows",
    Place.NOWHERE: "anywhere",
}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
