"""Saving and deleting, and what people ask of triggers: a command to the processor, and its answer, waited for.

In come bodies and the revisions that callers expect; out come things as they were saved.  State: who waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from zlib import crc32

import msgspec
import structlog

from flowtide.errors import LogUnavailable, ReplyMissing, ResourceConflict
from flowtide.log.keys import ResourceKey, TriggerKey
from flowtide.log.port import Log, Message, Reader
from flowtide.model.audit import AuditNote, resource_of, shown
from flowtide.model.records import UNREADABLE, encode
from flowtide.model.resources import (
    REPLY_DECODER,
    DeleteResource,
    FlowBody,
    Resource,
    ResourceCommand,
    ResourceKind,
    ResourceReply,
    SaveResource,
)
from flowtide.model.trigger_records import TRIGGER_STATE_DECODER, TriggerState, TriggerVerb
from flowtide.processors.resources import COMMANDS, REPLIES, REPLY_TO
from flowtide.processors.triggers import COMMANDS as TRIGGER_COMMANDS
from flowtide.services.catalog import Catalog
from flowtide.services.repeats import request_id
from flowtide.services.trail import TRAIL

DEFAULT_PATIENCE = timedelta(seconds=30)

_POLL = timedelta(milliseconds=250)
_MAXIMUM = 1_000
_BACK_OFF_SECONDS = 0.5

logger = structlog.get_logger(__name__)


class ResourceClient:
    """Saves and deletes things for one server; what is saved first starts it, unless it was started before.

    `instance` names the server and decides which partition of the replies it reads; `ids` gives a fresh id
    at each call; `patience` is how long an answer is waited for.
    """

    def __init__(
        self,
        log: Log,
        catalog: Catalog,
        *,
        instance: str,
        clock: Callable[[], datetime],
        ids: Callable[[], str],
        patience: timedelta = DEFAULT_PATIENCE,
    ) -> None:
        self._log = log
        self._catalog = catalog
        self._instance = instance
        self._clock = clock
        self._ids = ids
        self._patience = patience
        self._waiting: dict[str, asyncio.Future[ResourceReply]] = {}
        self._partition = 0
        self._position = 0
        self._task: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Begin to read replies.  Raises LogUnavailable."""
        self._partition = crc32(self._instance.encode()) % self._log.partitions(REPLIES)
        # A place and not "the end", or an interruption before the first reply would skip what came meanwhile.
        self._position = (await self._log.end_offsets(REPLIES)).get(self._partition, 0)
        reader = await self._open()
        self._task = asyncio.create_task(self._follow(reader), name="replies")

    async def close(self) -> None:
        """Stop reading; whoever still waits gets ReplyMissing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ReplyMissing("the server stops; ask another one whether it was saved"))

    async def save(
        self,
        kind: ResourceKind,
        tenant: str,
        identifier: str,
        body: bytes,
        expected_revision: int | None = None,
        *,
        by: str | None = None,
    ) -> Resource:
        """Save a thing and give it as it is now; the catalog has it when this returns.

        `body` is JSON.  `expected_revision` None overwrites whatever is there, 0 insists that nothing is.
        Raises ResourceConflict, ReplyMissing, LogUnavailable, MessageTooLarge.
        """
        command = SaveResource(
            request_id=request_id(f"{tenant}/{kind}/{identifier}", self._ids),
            at=self._clock(),
            body=msgspec.Raw(body),
            expected_revision=expected_revision,
            by=by,
            audit=self._note(kind, tenant, identifier),
        )
        return await self._ask(ResourceKey(tenant, kind, identifier), command)

    async def save_flow(
        self,
        tenant: str,
        namespace: str,
        flow_id: str,
        source: str,
        expected_revision: int | None = None,
        *,
        by: str | None = None,
    ) -> Resource:
        """Save a flow's source; one that is the same byte for byte keeps its revision.  Raises as `save`."""
        body = encode(FlowBody(source=source))
        return await self.save(
            ResourceKind.FLOW, tenant, f"{namespace}/{flow_id}", body, expected_revision, by=by
        )

    async def delete(
        self,
        kind: ResourceKind,
        tenant: str,
        identifier: str,
        expected_revision: int | None = None,
        *,
        by: str | None = None,
    ) -> Resource:
        """Delete a thing.  Raises ResourceConflict when it does not exist, and as `save`."""
        command = DeleteResource(
            request_id=request_id(f"{tenant}/{kind}/{identifier}", self._ids),
            at=self._clock(),
            expected_revision=expected_revision,
            by=by,
            audit=self._note(kind, tenant, identifier),
        )
        return await self._ask(ResourceKey(tenant, kind, identifier), command)

    def _note(self, kind: ResourceKind, tenant: str, identifier: str) -> AuditNote | None:
        """The audit note of what a person asks for; what servers and tasks do themselves has none (decision 0046)."""
        trail = TRAIL.get()
        if trail is None or not resource_of(kind):
            return None
        trail.recorded = True
        before = self._catalog.get(kind, tenant, identifier)
        if before is None or before.deleted:
            return AuditNote(actor=trail.actor)
        return AuditNote(actor=trail.actor, before=shown(kind, identifier, bytes(before.body)))

    async def tell_trigger(self, key: TriggerKey, verb: TriggerVerb) -> TriggerState:
        """Have the *triggers* processor do what a person asks, and give the trigger as it is then.

        Raises ResourceConflict when it is refused, ReplyMissing, LogUnavailable.
        """
        verb = msgspec.structs.replace(verb, request_id=self._ids())
        assert verb.request_id is not None
        reply = await self._replied(TRIGGER_COMMANDS, str(key), verb.request_id, encode(verb), "scheduler")
        if reply.conflict is not None or reply.resource is None:
            reason = reply.conflict or "nothing was done"
            raise ResourceConflict(f"the trigger {key.trigger_id}: {reason}", key=str(key), revision=0)
        return TRIGGER_STATE_DECODER.decode(reply.resource.body)

    async def _ask(self, key: ResourceKey, command: ResourceCommand) -> Resource:
        reply = await self._replied(COMMANDS, str(key), command.request_id, encode(command), "executor")
        if reply.conflict is not None or reply.resource is None:
            known = self._catalog.get(ResourceKind(key.kind), key.tenant, key.identifier)
            raise ResourceConflict(
                reply.conflict or "nothing was saved", key=str(key), revision=known.revision if known else 0
            )
        self._catalog.apply(reply)
        return reply.resource

    async def _replied(
        self, topic: str, key: str, request_id: str, value: bytes, server: str
    ) -> ResourceReply:
        if self._task is None:
            async with self._starting:
                if self._task is None:
                    await self.start()
        future: asyncio.Future[ResourceReply] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        message = Message(topic=topic, key=key, value=value, headers={REPLY_TO: str(self._partition)})
        try:
            await self._log.append([message])
            return await asyncio.wait_for(future, self._patience.total_seconds())
        except TimeoutError:
            raise ReplyMissing(
                f"nobody answered within {self._patience.total_seconds():g} s whether {key} was changed;"
                f" see whether the {server} runs, then look before you try again"
            ) from None
        finally:
            del self._waiting[request_id]

    async def _open(self) -> Reader:
        return await self._log.reader(REPLIES, {self._partition: self._position})

    async def _follow(self, reader: Reader | None) -> None:
        try:
            while True:
                try:
                    reader = reader or await self._open()
                    for record in await reader.poll(maximum=_MAXIMUM, timeout=_POLL):
                        self._position = record.offset + 1
                        self._take_in(record.value or b"")
                except LogUnavailable as error:
                    logger.warning("replies cannot be read, trying again", reason=str(error))
                    with suppress(LogUnavailable):
                        if reader is not None:
                            await reader.close()
                    reader = None
                    await asyncio.sleep(_BACK_OFF_SECONDS)
        finally:
            if reader is not None:
                await reader.close()

    def _take_in(self, value: bytes) -> None:
        try:
            reply = REPLY_DECODER.decode(value)
        except UNREADABLE as error:
            logger.warning("a reply cannot be read", reason=str(error))
            return
        future = self._waiting.get(reply.request_id)
        if future is not None and not future.done():
            future.set_result(reply)
