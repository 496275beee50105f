"""The flowable constructs, a module each, and the table that says which module decides which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from flowtide.engine.decide.constructs import (
    for_each,
    if_,
    parallel,
    pause,
    root,
    sequential,
    subflow,
    switch,
    working_directory,
)
from flowtide.engine.decide.constructs.protocol import Construct

CONSTRUCTS: Mapping[str, Construct] = cast(
    "Mapping[str, Construct]",
    {
        "root": root,
        "sequential": sequential,
        "parallel": parallel,
        "if_": if_,
        "switch": switch,
        "for_each": for_each,
        "pause": pause,
        "subflow": subflow,
        "working_directory": working_directory,
    },
)
"""`construct` of a flowable task -> its module."""
