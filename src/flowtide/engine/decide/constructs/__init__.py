"""The flowable constructs, a module each, and the table that says which module decides which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from flowtide.engine.decide.constructs import (
    allow_failure,
    dag,
    each_parallel,
    for_each,
    if_,
    items,
    labels,
    listener,
    loop_until,
    parallel,
    pause,
    root,
    sequential,
    set_variables,
    subflow,
    switch,
    template,
    unset_variables,
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
        "each_parallel": each_parallel,
        "loop_until": loop_until,
        "dag": dag,
        "allow_failure": allow_failure,
        "items": items,
        "template": template,
        "listener": listener,
        "pause": pause,
        "subflow": subflow,
        "unset_variables": unset_variables,
        "set_variables": set_variables,
        "labels": labels,
        "working_directory": working_directory,
    },
)
"""`construct` of a flowable task -> its module."""
