"""What is written in place of a report that is larger than the log takes: one that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flowtide.log.port import Message
from flowtide.model.commands import ReportEvaluation, ReportRunEnded
from flowtide.model.records import encode
from flowtide.model.states import State
from flowtide.services.worker.reports import COMMANDS
from flowtide.services.worker.trigger_jobs import COMMANDS as TRIGGER_COMMANDS
from flowtide.services.worker.trigger_jobs import too_large

_ERROR = "the outputs are larger than the limit of a record; return less, or store them in a file"


def smaller(message: Message) -> Message | None:
    """In place of an end report beyond the log's limit, one that says so; None for lines and metrics."""
    if message.topic not in (COMMANDS, TRIGGER_COMMANDS) or message.value is None:
        return None
    fields: Mapping[str, Any] = msgspec.json.decode(message.value)
    if message.topic == TRIGGER_COMMANDS:
        said = too_large(fields)
        return None if said is None else _with_value(message, encode(said))
    if fields.get("type") == ReportEvaluation.__name__:
        report = msgspec.convert(fields, ReportEvaluation)
        return _with_value(message, encode(msgspec.structs.replace(report, values={}, error=_ERROR)))
    if fields.get("type") == ReportRunEnded.__name__:
        ended = msgspec.convert(fields, ReportRunEnded)
        replaced = msgspec.structs.replace(ended, state=State.FAILED, outputs={}, error=_ERROR)
        return _with_value(message, encode(replaced))
    return None


def _with_value(message: Message, value: bytes) -> Message:
    return msgspec.structs.replace(message, value=value)
