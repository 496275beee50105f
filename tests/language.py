"""A registry for tests of flows: the constructs under short names, and `Say`, whose output is its rendered message."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from flowtide.errors import ExpressionError
from flowtide.expressions import Scope, render_value
from flowtide.model import execution_tasks, flowables
from flowtide.model.directories import DirectoryBlock, DirectoryTask
from flowtide.model.jobs import Evaluate, RunTask
from flowtide.model.plugin import Registry
from flowtide.model.task import RunContext, RunnableTask
from flowtide.model.triggers.schedule import Schedule


class Directory(DirectoryBlock):
    """A directory of which nothing is kept."""

    async def run(self, context: RunContext) -> None:
        """Need a moment."""
        await asyncio.sleep(0.3)

    async def close(self, context: RunContext, *, failed: bool) -> dict[str, Any]:
        """Need a moment."""
        await asyncio.sleep(0.2)
        return {"value": context.task_id}


class WorkingDirectory(DirectoryTask):
    """Tasks in one directory."""

    block = Directory


class Say(RunnableTask):
    """A task with a text."""

    message: Any = None


REGISTRY = Registry(
    {
        ("task", "Say"): Say,
        ("task", "Sequential"): flowables.Sequential,
        ("task", "Parallel"): flowables.Parallel,
        ("task", "If"): flowables.If,
        ("task", "Switch"): flowables.Switch,
        ("task", "ForEach"): flowables.ForEach,
        ("task", "Pause"): flowables.Pause,
        ("task", "Dag"): flowables.Dag,
        ("task", "LoopUntil"): flowables.LoopUntil,
        ("task", "AllowFailure"): flowables.AllowFailure,
        ("task", "EachSequential"): flowables.EachSequential,
        ("task", "EachParallel"): flowables.EachParallel,
        ("task", "ForEachItem"): flowables.ForEachItem,
        ("task", "Subflow"): flowables.Subflow,
        ("task", "Template"): flowables.Template,
        ("task", "Labels"): execution_tasks.Labels,
        ("task", "SetVariables"): execution_tasks.SetVariables,
        ("task", "UnsetVariables"): execution_tasks.UnsetVariables,
        ("task", "WorkingDirectory"): WorkingDirectory,
        ("trigger", "Schedule"): Schedule,
    }
)


def said(job: RunTask) -> dict[str, Any]:
    """The outputs of a `Say`: its message, rendered from what travels with the job.  Raises ExpressionError."""
    message = msgspec.json.decode(job.task).get("message")
    return {"value": job.task_id if message is None else rendered(message, job)}


def rendered(template: Any, job: RunTask | Evaluate) -> Any:
    """A property, rendered from what travels with the job: one expression keeps its type, else it is text.

    Raises ExpressionError.
    """
    scope = Scope(msgspec.json.decode(job.variables), now=lambda: job.at)
    try:
        return render_value(template, scope, typed=True)
    except ExpressionError:
        return render_value(template, scope, typed=False)
