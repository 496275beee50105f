"""The source of a dashboard or of a single chart: YAML in; the parsed thing out, or all that is wrong with places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from flowtide.errors import DashboardInvalid, Violation
from flowtide.model.dashboards.charts import Chart
from flowtide.model.dashboards.dashboard import AnyChart, Dashboard
from flowtide.model.dashboards.filters import Fault
from flowtide.model.documents import Document, DocumentError, DocumentLimits, path_text, read_document
from flowtide.model.plugin import PluginContext, Registry
from flowtide.model.source import violations_of

LIMITS = DocumentLimits(bytes=1_000_000, nodes=20_000, depth=50)

Thing = TypeVar("Thing", Dashboard, Chart)

_DASHBOARD: TypeAdapter[Dashboard] = TypeAdapter(Dashboard)
_CHART: TypeAdapter[Chart] = TypeAdapter(AnyChart)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed(Generic[Thing]):
    """What came of a source: the thing, or violations; warnings in either case."""

    thing: Thing | None
    violations: list[Violation]
    warnings: list[str]

    def valid(self) -> Thing:
        """The thing.  Raises DashboardInvalid when there are violations."""
        if self.thing is None:
            raise DashboardInvalid(self.violations)
        return self.thing


def parse_dashboard(source: str, registry: Registry) -> Parsed[Dashboard]:
    """Read a dashboard.  Never raises for what a person wrote."""
    return _parse(source, registry, _DASHBOARD, "a dashboard must be a mapping with `title` and `charts`")


def parse_chart(source: str, registry: Registry) -> Parsed[Chart]:
    """Read a single chart, as it stands in the list of a dashboard.  Never raises for what a person wrote."""
    return _parse(source, registry, _CHART, "a chart must be a mapping with `id` and `type`")


def _parse(source: str, registry: Registry, adapter: TypeAdapter[Thing], expected: str) -> Parsed[Thing]:
    warnings: list[str] = []
    try:
        document = read_document(source, LIMITS)
    except DocumentError as error:
        return Parsed(thing=None, violations=list(error.violations), warnings=[])
    root = document.value
    if not isinstance(root, dict):
        violation = Violation(path="", message=expected, line=1, column=1)
        return Parsed(thing=None, violations=[violation], warnings=[])
    given = {key: value for key, value in root.items() if value is not None}
    context = PluginContext(registry=registry, warn=warnings.append)
    try:
        thing = adapter.validate_python(given, context=context)
    except ValidationError as error:
        violations = violations_of(error.errors(include_url=False), document, registry)
        return Parsed(thing=None, violations=_sorted(violations), warnings=warnings)
    violations = list(_violations(thing.faults(), document))
    return Parsed(
        thing=None if violations else thing,
        violations=_sorted(violations),
        warnings=list(dict.fromkeys(warnings)),
    )


def _violations(faults: Iterable[Fault], document: Document) -> Iterable[Violation]:
    for path, message in faults:
        line, column = document.place(path)
        yield Violation(path=path_text(path), message=message, line=line, column=column)


def _sorted(violations: list[Violation]) -> list[Violation]:
    return sorted(violations, key=lambda violation: (violation.line, violation.column))
