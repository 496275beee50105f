"""The state of a document, its histories and durations: what the folds of executions and of task runs share.

A document and a state's name come in; the document is changed in place.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flowtide.model.durations import format_duration
from flowtide.model.states import State

Document = dict[str, Any]

TERMINAL = frozenset(state.value for state in State if state.is_terminal)


class BaseMissing(ValueError):
    """An event changes a document that is not there: its earlier events were never folded, or are gone."""


def new_state(first: str, date: str) -> Document:
    """A state with a history of one entry; `date` is written as records write dates."""
    return {"current": first, "histories": [{"state": first, "date": date}], "startDate": date}


def enter(state: Document, name: str, date: str) -> float | None:
    """Move on to the state `name`; gives the seconds from the first state when it is one that nothing follows."""
    state["current"] = name
    state["histories"].append({"state": name, "date": date})
    if name in TERMINAL:
        state["endDate"] = date
        lasted = datetime.fromisoformat(date) - datetime.fromisoformat(state["startDate"])
        state["duration"] = _format_duration(lasted)
        return lasted.total_seconds()
    if "endDate" in state:
        del state["endDate"], state["duration"]
    return None


def _format_duration(duration: timedelta) -> str:
    """As `format_duration`, faster for what most task runs take: less than a minute."""
    if duration.days or not 0 <= duration.seconds < 60:
        return format_duration(duration)
    if not duration.microseconds:
        return f"PT{duration.seconds}S"
    decimals = f"{duration.microseconds:06d}".rstrip("0")
    return f"PT{duration.seconds}.{decimals}S"


def enter_both(document: Document, name: str, date: str) -> None:
    """Move the state of the document itself, and keep its duration as a number beside it."""
    seconds = enter(document["state"], name, date)
    if seconds is not None:
        document["durationSeconds"] = seconds
    elif "durationSeconds" in document:
        del document["durationSeconds"]
