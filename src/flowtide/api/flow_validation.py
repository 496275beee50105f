"""What is wrong with flows, tasks and triggers that need not be saved (G_models, ValidateConstraintViolation)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.bodies import parse_json, read_text
from flowtide.api.flows import documents, parse
from flowtide.api.keys import CATALOG
from flowtide.api.parameters import tenant
from flowtide.api.problems import Problem
from flowtide.errors import Violation
from flowtide.model.documents import DocumentError, read_document
from flowtide.model.records import encode
from flowtide.model.source import ParsedFlow

_SECTIONS = ("TASKS", "TRIGGERS")
_STAND_IN = {"id": "stand-in-of-a-task", "type": "io.kestra.plugin.core.debug.Return"}
"""The task of the flow that a trigger is checked in, which needs one."""


async def validate(request: web.Request) -> web.StreamResponse:
    """What is wrong with each document of the body; `constraints` is left out for those that are right."""
    answer = []
    for index, source in enumerate(documents(await read_text(request))):
        parsed = await parse(request, source)
        answer.append(_validated(request, index, parsed))
    return json_answer(answer)


def _validated(request: web.Request, index: int, parsed: ParsedFlow) -> dict[str, Any]:
    entry: dict[str, Any] = {"index": index, "outdated": False, "warnings": [], "infos": []}
    entry["deprecationPaths"] = parsed.deprecated
    entry["infos"] = [f"{former} is replaced by {current}" for former, current in parsed.relocated]
    for name, field in (("id", "flow"), ("namespace", "namespace")):
        value = parsed.document.get(name)
        if isinstance(value, str):
            entry[field] = value
    if "flow" in entry and "namespace" in entry:
        known = request.app[CATALOG].flow(tenant(request), entry["namespace"], entry["flow"])
        revision = parsed.document.get("revision")
        if known is not None and isinstance(revision, int):
            entry["outdated"] = revision < known.revision
    entry["warnings"] = parsed.warnings
    if parsed.violations:
        entry["constraints"] = "\n".join(str(violation) for violation in parsed.violations)
        entry["violations"] = [
            {
                "message": violation.message,
                "path": violation.path,
                "line": violation.line,
                "column": violation.column,
            }
            for violation in parsed.violations
        ]
    return entry


async def validate_task(request: web.Request) -> web.StreamResponse:
    """What is wrong with one task, or with `section=TRIGGERS` one trigger, as JSON or YAML."""
    section = request.query.get("section")
    if section not in _SECTIONS:
        raise Problem(422, f"`section` must be one of {', '.join(_SECTIONS)}")
    return await _validated_part(request, section)


async def validate_trigger(request: web.Request) -> web.StreamResponse:
    """What is wrong with one trigger, as JSON or YAML."""
    return await _validated_part(request, "TRIGGERS")


async def _validated_part(request: web.Request, section: str) -> web.StreamResponse:
    text = await read_text(request)
    if request.content_type == "application/json":
        part = parse_json(text.encode())
    else:
        try:
            part = read_document(text).value
        except DocumentError as error:
            return json_answer(_entry_of(list(error.violations), []))
    if not isinstance(part, dict):
        raise Problem(400, "the body must be an object with `id` and `type`")
    tasks, triggers = ([part], []) if section == "TASKS" else ([_STAND_IN], [part])
    document = {"id": "flow", "namespace": "company.team", "tasks": tasks, "triggers": triggers}
    parsed = await parse(request, encode(document).decode())  # JSON is YAML, and quick to write
    place = f"{section.lower()}[0]"
    violations = [
        Violation(path=each.path.removeprefix(place).removeprefix("."), message=each.message)
        for each in parsed.violations
    ]
    return json_answer(_entry_of(violations, [each.replace(f"{place}.", "") for each in parsed.warnings]))


def _entry_of(violations: list[Violation], warnings: list[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "index": 0, "outdated": False, "deprecationPaths": [], "warnings": warnings, "infos": [],
    }  # fmt: skip  # reads better in a line
    if violations:
        entry["constraints"] = "\n".join(str(violation) for violation in violations)
    return entry
