"""The flowable tasks of the language: their YAML properties (catalogue B §5 and §6), a module per subject.

What they do is in `flowtide.engine.decide`, in the module that `construct` names.
"""

from flowtide.model.flowables.branches import If, Switch
from flowtide.model.flowables.dag import Dag, DagNode
from flowtide.model.flowables.for_each_item import ForEachItem
from flowtide.model.flowables.loops import (
    CheckFrequency,
    EachParallel,
    EachSequential,
    ForEach,
    Loop,
    LoopUntil,
)
from flowtide.model.flowables.pause import Pause
from flowtide.model.flowables.sequences import AllowFailure, Parallel, Sequential
from flowtide.model.flowables.subflow import Subflow
from flowtide.model.flowables.template import Template

__all__ = [
    "AllowFailure",
    "CheckFrequency",
    "Dag",
    "DagNode",
    "EachParallel",
    "EachSequential",
    "ForEach",
    "ForEachItem",
    "If",
    "Loop",
    "LoopUntil",
    "Parallel",
    "Pause",
    "Sequential",
    "Subflow",
    "Switch",
    "Template",
]
