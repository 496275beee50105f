"""Who is behind what this process does right now: set for each request, read where something is saved."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from flowtide.model.audit_note import Actor


@dataclass(kw_only=True, slots=True)
class Trail:
    """One request of somebody."""

    actor: Actor
    recorded: bool = False  # whether something was saved, whose processor writes the entry


TRAIL: ContextVar[Trail | None] = ContextVar("trail", default=None)
"""None: nobody asked, the process acts by itself."""
