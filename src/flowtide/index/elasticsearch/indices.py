"""Names, templates and mappings of the indices: which index a document lives in, and how its fields are kept.

Each kind has the alias `{prefix}{kind}` over the indices `{prefix}{kind}-*`.  A rotated kind has one index a day,
week, month or year, chosen by the date of the document's creation, so that every later write of it finds the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from importlib.resources import files
from typing import Any

import msgspec

from flowtide.index.kinds import KINDS, Kind

_MAPPINGS = files(__package__).joinpath("mappings")

OWN = {
    "docId": {"type": "keyword"},  # the id within the tenant; what ties in sorting are broken by
    "docTenant": {"type": "keyword"},  # what every query is filtered by
    "docLabels": {
        "type": "keyword",
        "ignore_above": 4096,
    },  # key, LABEL_SEPARATOR, value: a label as one term
    "docText": {
        "type": "keyword",
        "ignore_above": 4096,
        "normalizer": "lower",
    },  # what free text is looked for in
}
"""Fields that the adapter adds to each document and takes away when it is read."""

LABEL_SEPARATOR = "\u001f"


class Rotation(StrEnum):
    """How often a new index begins (ES-5)."""

    NONE = "none"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"


_FORMATS = {
    Rotation.DAILY: "%Y.%m.%d",
    Rotation.WEEKLY: "%G.w%V",
    Rotation.MONTHLY: "%Y.%m",
    Rotation.YEARLY: "%Y",
}


class Indices:
    """The names of the indices under one prefix and rotation."""

    def __init__(self, prefix: str, rotation: Rotation) -> None:
        self._prefix = prefix
        self._rotation = rotation
        self._created = {
            kind.name: next(at for at, field in enumerate(kind.fields) if field.path == kind.created)
            for kind in KINDS.values()
            if kind.created is not None and rotation is not Rotation.NONE
        }

    def alias(self, kind: str) -> str:
        """The name that searches use."""
        return f"{self._prefix}{kind}"

    def pattern(self, kind: str) -> str:
        """What the names of all indices of a kind match."""
        return f"{self._prefix}{kind}-*"

    def everything(self) -> str:
        """What the names of all indices match."""
        return f"{self._prefix}*"

    def is_rotated(self, kind: str) -> bool:
        """Whether a kind has several indices."""
        return kind in self._created

    def single(self, kind: str) -> str:
        """The index of a kind that is not rotated."""
        return f"{self._prefix}{kind}-000001"

    def of(self, kind: str, values: tuple[Any, ...]) -> str:
        """The index that a document with these fields lives in.  Raises ValueError when it has no date."""
        place = self._created.get(kind)
        if place is None:
            return self.single(kind)
        created = values[place]
        if created is None:
            raise ValueError("it has no date of creation")
        date = datetime.fromtimestamp(created / 1_000_000, tz=UTC)
        return f"{self._prefix}{kind}-{date.strftime(_FORMATS[self._rotation])}"

    def template(self, kind: Kind, *, shards: int, replicas: int) -> dict[str, Any]:
        """The composable template of a kind."""
        mapping = msgspec.json.decode(_MAPPINGS.joinpath(f"{kind.name}.json").read_bytes())
        lower = {"type": "custom", "filter": ["lowercase"]}
        return {
            "index_patterns": [self.pattern(kind.name)],
            "priority": 500,  # above the broad templates that operators have for everything
            "_meta": {"description": mapping["description"]},
            "template": {
                "aliases": {self.alias(kind.name): {}},
                "settings": {
                    "index": {"number_of_shards": shards, "number_of_replicas": replicas},
                    "analysis": {"normalizer": {"lower": lower}},
                },
                "mappings": {"dynamic": False, "properties": {**mapping["properties"], **OWN}},
            },
        }
