"""A dashboard as it is saved: its source, and what the list of dashboards shows without reading it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from flowtide.model.records import Value


class SavedDashboard(Value, frozen=True, omit_defaults=True):
    """The body of a saved dashboard."""

    source: str  # the YAML, byte for byte as it came
    title: str
    created: datetime
    description: str | None = None


SAVED_DASHBOARD_DECODER: msgspec.json.Decoder[SavedDashboard] = msgspec.json.Decoder(SavedDashboard)
