"""The property `namespaceFiles` of tasks that work in a folder: which files of which namespaces are put there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from flowtide.model.plugin import Part


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[str | Sequence[str], BeforeValidator(_as_list)]
"""A list of names or patterns, or a template that gives one."""


class NamespaceFilesProperty(Part):
    """Files of namespaces in the working directory of a task (NSF-02)."""

    enabled: Annotated[
        bool | str, Field(title="Whether files are put there", description="A template, or a boolean.")
    ] = True  # who writes the property wants the files (S33)
    include: Annotated[
        Names, Field(title="Patterns of the files that are wanted", description="All files by default.")
    ] = ()
    exclude: Annotated[Names, Field(title="Patterns of the files that are left out")] = ()
    namespaces: Annotated[
        Names,
        Field(
            title="The namespaces",
            description="Loaded in this order, so of two files with one path the later one stays. The flow's by "
            "default.",
        ),
    ] = ()
    if_exists: Annotated[
        Literal["OVERWRITE", "FAIL", "WARN", "IGNORE"],
        Field(title="What becomes of a file that is there already"),
    ] = "OVERWRITE"
    folder_per_namespace: Annotated[
        bool, Field(title="Whether each namespace has a folder of its own, named after it")
    ] = False
