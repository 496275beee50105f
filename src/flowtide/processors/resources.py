"""The *resources* processor (key: tenant, kind, identifier): the one writer of everything that is saved.

In come saves and deletions with the revision that their sender expects; out go the thing as it is now
(topic `resources`), the answer to the sender (`replies`), and for flows what follows for triggers and
concurrency slots. State: for each thing its revision, a digest of its body and, of a flow, the triggers
that were defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b

import msgspec

from flowtide.errors import FlowInvalid
from flowtide.log.keys import FlowKey, ResourceKey, TriggerKey, resource_key
from flowtide.log.port import Message, Record, StateChange
from flowtide.model.audit import AuditAction, AuditEntry, details_of, resource_of, shown
from flowtide.model.flow import Flow
from flowtide.model.flow_commands import ReviewSlots
from flowtide.model.records import UNREADABLE, Value, encode
from flowtide.model.resources import (
    FLOW_BODY_DECODER,
    FORGOTTEN_KINDS,
    RESOURCE_COMMAND_DECODER,
    DeleteResource,
    Resource,
    ResourceCommand,
    ResourceKind,
    ResourceReply,
    SaveResource,
)
from flowtide.model.trigger import Trigger, WorkerTrigger
from flowtide.model.trigger_records import DefineTrigger, RemoveTrigger
from flowtide.model.triggers.dated import DatedTrigger
from flowtide.model.wire import plugin_to_record
from flowtide.processors.runtime import BadRecord, Partition

GROUP = "resources"
COMMANDS = "resource_commands"
STATE = "resource_state"
RESOURCES = "resources"
REPLIES = "replies"
REPLY_TO = "reply-to"  # header of a command: the partition of `replies` that the sender reads

_NO_BODY = msgspec.Raw(b"null")


Parse = Callable[[str, str], Flow | None]
"""(source, tenant) -> the flow, None when it is not valid; may raise FlowInvalid."""


class _Saved(Value, frozen=True):
    """The piece of state of one thing."""

    revision: int
    updated: datetime
    digest: str
    deleted: bool = False
    by: str | None = None
    triggers: tuple[str, ...] = ()  # of a flow: the ids that the *triggers* processor was told of
    request_id: str | None = None  # of the last command that changed it, to know it again when it comes twice


_SAVED_DECODER = msgspec.json.Decoder(_Saved)


class ResourcesPartition(Partition):
    """Saves and deletes the things of one partition.

    `parse` reads a flow's source, None when it is not valid; such a flow is kept (it may come from an older
    version, the API refuses new ones) and has no triggers.  `reply_partitions` is the number of partitions
    of the topic `replies`.
    """

    def __init__(
        self, number: int, state: Mapping[str, bytes], *, parse: Parse, reply_partitions: int
    ) -> None:
        self._number = number
        self._state = state
        self._parse = parse
        self._reply_partitions = reply_partitions
        self._changed: dict[str, _Saved | None] = {}  # None: forgotten
        self._messages: list[Message] = []

    def handle(self, record: Record, now: datetime, *, certain: bool) -> None:
        """Carry out one command.  Raises BadRecord for what is none."""
        try:
            key = resource_key(record.key)
            kind = ResourceKind(key.kind)
            command = RESOURCE_COMMAND_DECODER.decode(record.value or b"")
        except UNREADABLE as error:
            raise BadRecord(f"not a command to save or delete: {error}") from error
        if kind is ResourceKind.FLOW_REVISION:
            self._forget_revision(record, command, now)
            return
        if kind is ResourceKind.FLOW:
            _flow_key(key)
        reply_to = self._reply_partition(record.headers)
        before = self._saved(record.key)
        if before is not None:
            # Each change of a thing has a time of its own, by which those who look it up know whether
            # they lag.
            now = max(now, before.updated + timedelta(microseconds=1))
        if before is not None and before.request_id == command.request_id:
            # The command came twice; it was carried out the first time.
            self._answer(reply_to, record.key, command, resource=_resource(before, _body_of(command)))
            return
        refused = _refusal(key, before, command)
        if refused is not None:
            self._answer(reply_to, record.key, command, conflict=refused)
        elif isinstance(command, DeleteResource):
            assert before is not None
            self._delete(record, key, kind, before, command, now, reply_to)
        else:
            self._save(record, key, kind, before, command, now, reply_to)

    def _forget_revision(self, record: Record, command: ResourceCommand, now: datetime) -> None:
        """Forget a former revision of a flow; who asks has seen that there is a later one."""
        if not isinstance(command, DeleteResource):
            raise BadRecord("revisions are written with their flow, not by commands")
        number = record.key.rpartition("/")[2]
        if not (number.isascii() and number.isdigit()):
            raise BadRecord(f"{record.key!r} does not name a revision of a flow")
        self._messages.append(Message(topic=RESOURCES, key=record.key, value=None))
        gone = Resource(revision=int(number), updated=now, body=_NO_BODY, deleted=True, by=command.by)
        self._answer(self._reply_partition(record.headers), record.key, command, resource=gone)

    def refused(self, record: Record, reason: str) -> Sequence[Message]:
        """Answer the sender of a command that could not be carried out, who would wait for nothing."""
        try:
            command = RESOURCE_COMMAND_DECODER.decode(record.value or b"")
            reply_to = self._reply_partition(record.headers)
        except (*UNREADABLE, BadRecord):
            return ()
        if reply_to is None:
            return ()
        conflict = f"it could not be saved; the record is among the dead letters ({reason[:300]})"
        reply = ResourceReply(request_id=command.request_id, key=record.key, conflict=conflict)
        return [Message(topic=REPLIES, key=record.key, value=encode(reply), partition=reply_to)]

    def fire(self, now: datetime, maximum: int) -> None:
        """There are no timers."""

    def next_due(self) -> datetime | None:
        """There are no timers."""
        return None

    def flush(self) -> tuple[Sequence[Message], Sequence[StateChange]]:
        """See `Partition.flush`."""
        messages, self._messages = self._messages, []
        changed, self._changed = self._changed, {}  # committed, the runtime shows them in the state
        changes = [
            StateChange(partition=self._number, key=key, value=None if saved is None else encode(saved))
            for key, saved in changed.items()
        ]
        return messages, changes

    def _saved(self, key: str) -> _Saved | None:
        if key in self._changed:
            return self._changed[key]
        piece = self._state.get(key)
        return None if piece is None else _SAVED_DECODER.decode(piece)

    def _save(
        self,
        record: Record,
        key: ResourceKey,
        kind: ResourceKind,
        before: _Saved | None,
        command: SaveResource,
        now: datetime,
        reply_to: int | None,
    ) -> None:
        digest = blake2b(_content(kind, command.body), digest_size=16).hexdigest()
        flow: Flow | None = None
        if kind is ResourceKind.FLOW:
            if before is not None and not before.deleted and before.digest == digest:
                self._answer(reply_to, record.key, command, resource=_resource(before, command.body))
                return
            flow = self._parse_body(command.body, key.tenant)
            if flow is not None and f"{flow.namespace}/{flow.id}" != key.identifier:
                where = f"{flow.namespace}/{flow.id}"
                conflict = f"the source is of flow {where}, it cannot be saved as {key.identifier}"
                self._answer(reply_to, record.key, command, conflict=conflict)
                return
        saved = _Saved(
            revision=1 if before is None else before.revision + 1,
            updated=now,
            digest=digest,
            by=command.by,
            triggers=() if flow is None else tuple(sorted(trigger.id for trigger in _scheduled(flow))),
            request_id=command.request_id,
        )
        resource = _resource(saved, command.body)
        if kind is ResourceKind.FLOW:
            revision = ResourceKey(
                key.tenant, ResourceKind.FLOW_REVISION, f"{key.identifier}/{saved.revision}"
            )
            self._messages.append(Message(topic=RESOURCES, key=str(revision), value=encode(resource)))
        self._put(record, saved, resource)
        if kind is ResourceKind.FLOW:
            self._tell_of_flow(_flow_key(key), before, saved, flow, now)
        action = AuditAction.CREATE if before is None or before.deleted else AuditAction.UPDATE
        self._tell_of_change(key, command, action, saved, command.body)
        self._answer(reply_to, record.key, command, resource=resource)

    def _delete(
        self,
        record: Record,
        key: ResourceKey,
        kind: ResourceKind,
        before: _Saved,
        command: DeleteResource,
        now: datetime,
        reply_to: int | None,
    ) -> None:
        saved = msgspec.structs.replace(
            before,
            updated=now,
            deleted=True,
            by=command.by,
            digest="",
            triggers=(),
            request_id=command.request_id,
        )
        resource = _resource(saved, _NO_BODY)
        if kind in FORGOTTEN_KINDS:
            self._changed[record.key] = None
            self._messages.append(Message(topic=RESOURCES, key=record.key, value=None))
        else:
            self._put(record, saved, resource)
        if kind is ResourceKind.FLOW:
            self._tell_of_flow(_flow_key(key), before, saved, None, now)
        self._tell_of_change(key, command, AuditAction.DELETE, saved, _NO_BODY)
        self._answer(reply_to, record.key, command, resource=resource)

    def _put(self, record: Record, saved: _Saved, resource: Resource) -> None:
        self._changed[record.key] = saved
        self._messages.append(Message(topic=RESOURCES, key=record.key, value=encode(resource)))

    def _tell_of_change(
        self,
        key: ResourceKey,
        command: ResourceCommand,
        action: AuditAction,
        saved: _Saved,
        body: msgspec.Raw,
    ) -> None:
        """Write the audit entry of a change in the batch of the change itself."""
        note = command.audit
        resource = resource_of(key.kind)
        if note is None or not resource:
            return
        entry = AuditEntry(
            id=command.request_id,
            tenant_id=key.tenant,
            date=saved.updated,
            action=action,
            resource=resource,
            actor=note.actor,
            details=details_of(key.kind, key.identifier, saved.revision),
            before=note.before,
            after=shown(key.kind, key.identifier, bytes(body)),
        )
        self._messages.append(
            Message(topic="audit_logs", key=f"{key.tenant}/{command.request_id}", value=encode(entry))
        )

    def _tell_of_flow(
        self, key: FlowKey, before: _Saved | None, saved: _Saved, flow: Flow | None, now: datetime
    ) -> None:
        """What a saved or deleted flow means for its triggers, and for executions that wait for a slot."""
        if flow is not None:
            for trigger in _scheduled(flow):
                define = DefineTrigger(
                    at=now,
                    flow_revision=saved.revision,
                    trigger=plugin_to_record(trigger),
                    disabled=flow.disabled or trigger.disabled,
                    variables=dict(flow.variables),
                )
                self._tell_trigger(key, trigger.id, encode(define))
        if before is not None:
            for trigger_id in sorted(set(before.triggers) - set(saved.triggers)):
                self._tell_trigger(
                    key, trigger_id, encode(RemoveTrigger(at=now, flow_revision=saved.revision))
                )
        if before is not None:
            self._messages.append(
                Message(topic="flow_commands", key=str(key), value=encode(ReviewSlots(at=now)))
            )

    def _tell_trigger(self, key: FlowKey, trigger_id: str, value: bytes) -> None:
        self._messages.append(
            Message(topic="trigger_commands", key=str(TriggerKey(*key, trigger_id)), value=value)
        )

    def _answer(
        self,
        reply_to: int | None,
        key: str,
        command: ResourceCommand,
        *,
        resource: Resource | None = None,
        conflict: str | None = None,
    ) -> None:
        if reply_to is None:
            return
        reply = ResourceReply(request_id=command.request_id, key=key, resource=resource, conflict=conflict)
        self._messages.append(Message(topic=REPLIES, key=key, value=encode(reply), partition=reply_to))

    def _reply_partition(self, headers: Mapping[str, str] | None) -> int | None:
        text = (headers or {}).get(REPLY_TO)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and int(text) < self._reply_partitions):
            raise BadRecord(f"header {REPLY_TO} is not a partition of {REPLIES}: {text!r}")
        return int(text)

    def _parse_body(self, body: msgspec.Raw, tenant: str) -> Flow | None:
        try:
            source = FLOW_BODY_DECODER.decode(body).source
        except UNREADABLE as error:
            raise BadRecord(f"the body is not that of a flow: {error}") from error
        try:
            return self._parse(source, tenant)
        except FlowInvalid:
            return None


def _flow_key(key: ResourceKey) -> FlowKey:
    namespace, slash, flow_id = key.identifier.partition("/")
    if not (namespace and slash and flow_id) or "/" in flow_id:
        raise BadRecord(f"{key.identifier!r} does not name a flow (namespace/id)")
    return FlowKey(key.tenant, namespace, flow_id)


def _refusal(key: ResourceKey, before: _Saved | None, command: ResourceCommand) -> str | None:
    """Why the command cannot be carried out on what is there; None when it can."""
    exists = before is not None and not before.deleted
    what = f"{key.kind} {key.identifier}"
    if not exists:
        if isinstance(command, DeleteResource):
            return f"{what} does not exist"
        if command.expected_revision:
            return f"{what} does not exist, revision {command.expected_revision} was expected"
        return None
    assert before is not None
    if command.expected_revision is None or command.expected_revision == before.revision:
        return None
    if command.expected_revision == 0:
        return f"{what} exists already"
    return f"{what} is at revision {before.revision}, revision {command.expected_revision} was expected"


def _resource(saved: _Saved, body: msgspec.Raw) -> Resource:
    return Resource(
        revision=saved.revision, updated=saved.updated, body=body, deleted=saved.deleted, by=saved.by
    )


def _body_of(command: ResourceCommand) -> msgspec.Raw:
    return command.body if isinstance(command, SaveResource) else _NO_BODY


def _content(kind: ResourceKind, body: msgspec.Raw) -> bytes:
    """What two saves are compared by: of a flow its source, whatever JSON wrote it."""
    if kind is not ResourceKind.FLOW:
        return bytes(body)
    try:
        return FLOW_BODY_DECODER.decode(body).source.encode()
    except UNREADABLE as error:
        raise BadRecord(f"the body is not that of a flow: {error}") from error


def _scheduled(flow: Flow) -> list[Trigger]:
    """The triggers that the *triggers* processor handles; webhooks and flow triggers are no business
    of a scheduler.
    """
    return [trigger for trigger in flow.triggers if isinstance(trigger, DatedTrigger | WorkerTrigger)]
