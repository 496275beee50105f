"""Which root variables expressions need: from the references of a template to names, so that no others are made."""

from __future__ import annotations

from collections.abc import Container

from flowtide.expressions import Ref, References


class _Everything:
    """Contains every name."""

    def __contains__(self, name: object) -> bool:
        return True


EVERYTHING: Container[str] = _Everything()
"""For whoever needs all root variables."""


def roots_of(references: References) -> Container[str]:
    """The names of the root variables that the references start from."""
    if references.dynamic:
        return EVERYTHING
    names = {path[0] for path in references.paths if isinstance(path[0], str)}
    for path in references.paths:
        names.update(element.path[0] for element in path if isinstance(element, Ref))
    return frozenset(names)
