"""What a webserver tells the others of a change that it has answered: who made it, and to which executions."""

from __future__ import annotations

import msgspec

from flowtide.model.records import Value


class OwnWrite(Value, frozen=True, omit_defaults=True):
    """A change, on the topic `own_writes`; the record's key names tenant and caller."""

    server: str  # the webserver that answered it
    executions: tuple[str, ...] | None = None  # the ids of those that it is about; None: it may be any


OWN_WRITE_DECODER: msgspec.json.Decoder[OwnWrite] = msgspec.json.Decoder(OwnWrite)
