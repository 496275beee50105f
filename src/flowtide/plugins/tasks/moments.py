"""Moments that tasks take as templates: ISO-8601 text in, a date with its time zone out."""

from __future__ import annotations

from datetime import UTC, datetime

from flowtide.errors import TaskFailed
from flowtide.model.task import RunContext


async def moment(name: str, template: str | None, context: RunContext) -> datetime | None:
    """The moment that a property names, in UTC when it has no zone; None when it is empty.  Raises TaskFailed."""
    rendered = await context.evaluate(template)
    if rendered is None or rendered == "":
        return None
    try:
        found = datetime.fromisoformat(str(rendered))
    except ValueError:
        raise TaskFailed(
            f"property `{name}`: {str(rendered)[:100]!r} is not an ISO-8601 date and time"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
