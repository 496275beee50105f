"""Namespaces made to cost: texts with very many dots have nothing above them, and variables nest within limits."""

from __future__ import annotations

import pytest

from flowtide.errors import ValueInvalid
from flowtide.model.access import Action, Grants, Permission
from flowtide.services.platform.namespaces import checked_document, lineage

DOTS = "a." * 100_000 + "a"


def test_a_text_of_dots_has_no_lineage() -> None:
    """Its beginnings together would have 20 GB; what no namespace is called is above and below nothing."""
    assert lineage("a.b.c") == ["a", "a.b", "a.b.c"]
    assert lineage(DOTS) == [DOTS]


def test_rights_are_not_looked_for_at_every_dot() -> None:
    """A role in a namespace counts below it, and for no text that is too long for a namespace."""
    may = {Permission.FLOW: frozenset({Action.READ})}
    grants = Grants(everywhere={}, within={"a": may}, has_access=True)
    assert grants.allows(Permission.FLOW, Action.READ, "a.b")
    assert not grants.allows(Permission.FLOW, Action.READ, DOTS)


def test_variables_nest_within_limits() -> None:
    """Dots in names count as levels, as they become some when they are read."""
    checked_document({"variables": {"a.b": {"c.d": 1}}}, "company.team")
    deep: dict[str, object] = {"x": 1}
    for _ in range(150):
        deep = {"x": deep}
    for variables in ({DOTS: 1}, {"a." * 60 + "a": {"a." * 60 + "a": 1}}, deep):
        with pytest.raises(ValueInvalid, match="levels"):
            checked_document({"variables": variables}, "company.team")
