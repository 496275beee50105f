"""Records between the two steps of the analytics app, and the state that each step keeps."""

from __future__ import annotations

import msgspec

from flowtide.analytics.tally import Tally


class Part(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True, rename="camel"):
    """What a batch of events adds to one window of one flow; the record's key names the flow."""

    start_ms: int  # of the window
    tally: Tally


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True, rename="camel"):
    """How far an instance has read its partitions of `execution_events`; goes to every partition of the parts."""

    partitions: int  # how many `execution_events` has
    read_ms: dict[int, int]  # partition -> time of the events that have been read, all parts before it sent


class SeenExecution(msgspec.Struct, frozen=True, array_like=True):
    """What the first step remembers of an execution."""

    namespace: str
    flow_id: str
    created_ms: int
    number: int  # of the last event; what comes again with this or a lower one was counted already
    over: bool  # nothing follows


class OpenWindow(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True, rename="camel"):
    """What the second step has added up for one window of one flow."""

    tally: Tally
    through: int  # offset of the last part in it; what comes again with this or a lower one is in it already


class ClosedBefore(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True, rename="camel"):
    """Up to where the windows of one partition are closed."""

    start_ms: int  # windows that start before are written


PART_DECODER: msgspec.json.Decoder[Part | Progress] = msgspec.json.Decoder(Part | Progress)
