"""The blueprints that come with Flowtide: the examples of its documentation and the built-in dashboards (E163).

No network is asked: what is here is all there is.  State: the catalogue, read once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml

from flowtide.model.blueprints import BlueprintKind
from flowtide.services.dashboards.built_in import BUILT_IN, built_in_source

_SOURCE_FOLDER = (
    Path(__file__).parents[4] / "docs" / "examples"
)  # in a checkout; a wheel carries the files inside


@dataclass(frozen=True, kw_only=True, slots=True)
class CommunityBlueprint:
    """A blueprint that anybody may use."""

    id: str
    kind: BlueprintKind
    title: str
    description: str
    tags: tuple[str, ...]
    source: str


@cache
def community_blueprints() -> Sequence[CommunityBlueprint]:
    """All of them, by title.  Raises ValueError when the catalogue and the files do not belong together."""
    catalogue: Mapping[str, Mapping[str, str]] = yaml.safe_load(
        files(__package__).joinpath("catalogue.yaml").read_text(encoding="utf-8")
    )
    packaged = files("flowtide").joinpath("_data", "examples")
    folder: Traversable = packaged if packaged.is_dir() else _SOURCE_FOLDER
    found = []
    for name, entry in catalogue["flows"].items():
        file = folder.joinpath(f"{name}.yaml")
        if not file.is_file():
            raise ValueError(f"the blueprint {name} has no flow in docs/examples")
        source = file.read_text(encoding="utf-8")
        found.append(_read(name, BlueprintKind.FLOW, entry, source))
    for page, entry in catalogue["dashboards"].items():
        source = built_in_source(BUILT_IN[page]) or ""
        found.append(_read(f"{page}_overview", BlueprintKind.DASHBOARD, entry, source))
    return sorted(found, key=lambda each: each.title)


def _read(name: str, kind: BlueprintKind, entry: str, source: str) -> CommunityBlueprint:
    title, _, tags = entry.partition("|")
    description = str(yaml.safe_load(source).get("description", "")).strip()
    return CommunityBlueprint(
        id=name,
        kind=kind,
        title=title.strip(),
        description=description,
        tags=tuple(tag.strip() for tag in tags.split(",") if tag.strip()),
        source=source,
    )
