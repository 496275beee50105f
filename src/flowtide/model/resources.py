"""Saved things (flows, namespaces, ...): the commands to save them, the records that hold them, and the answers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from flowtide.model.audit_note import AuditNote
from flowtide.model.records import Value


class ResourceKind(StrEnum):
    """What is saved.  The part of the key after the kind identifies it within the tenant."""

    FLOW = "flow"  # namespace/id: the latest revision, or the fact that it was deleted
    FLOW_REVISION = "flow-revision"  # namespace/id/revision: each revision
    NAMESPACE = "namespace"  # its name: description, variables, plugin defaults
    KEY_VALUE = "kv"  # namespace/key: a pair of the key-value store
    NAMESPACE_FILE = "file"  # namespace/path: what is known of a file and of its revisions
    TEMPLATE = "template"  # namespace/id: a template's source (deprecated)
    SETTING = "setting"  # key: instance settings, e.g. stored basic-auth credentials
    DASHBOARD = "dashboard"  # its id: a SavedDashboard
    BLUEPRINT = "blueprint"  # its id: a SavedBlueprint
    SECRET = "secret"  # noqa: S105 - namespace/key: its value only encrypted (model/saved_secrets.py)
    CREDENTIAL = "credential"  # namespace/name, or tenant/name where all namespaces may use it
    WORKER_GROUP = "worker-group"  # in `_system`, its id; the bodies of these are in model/instance.py
    BANNER = "banner"  # in `_system`, its id
    KILL_SWITCH = "kill-switch"  # in `_system`, its id
    # who may do what: the bodies are the records of model/identity.py
    USER = "user"  # in `_system`, its id
    USER_NAME = "user-name"  # in `_system`, an e-mail address in small letters: which user has it
    PASSWORD = "password"  # noqa: S105 - in `_system`, the user's id; apart, so that no document of a user has it
    SERVICE_ACCOUNT = "service-account"  # in `_system`, its id
    API_TOKEN = "api-token"  # noqa: S105 - in `_system`, its id
    SESSION = "session"  # in `_system`, its id: a login by browser
    TENANT = "tenant"  # in `_system`, its id
    TENANT_ACCESS = "tenant-access"  # in its tenant, the id of a user or service account
    ROLE = "role"  # in its tenant, its id
    BINDING = "binding"  # in its tenant, its id
    GROUP = "group"  # in its tenant, its id
    GROUP_MEMBERSHIP = "group-membership"  # in its tenant, group/user
    INVITATION = "invitation"  # in its tenant, its id
    SECURITY_INTEGRATION = "security-integration"  # in its tenant, its id
    IDEMPOTENCY = "idempotency"  # what follows from caller and key: a request that was sent with a key


FORGOTTEN_KINDS = frozenset(
    {ResourceKind.KEY_VALUE, ResourceKind.NAMESPACE_FILE, ResourceKind.SESSION, ResourceKind.IDEMPOTENCY}
)
"""What leaves no trace when it is deleted, because it comes and goes in great numbers: its revisions begin anew."""


class SaveResource(Value, frozen=True, tag_field="type", tag=True):
    """Save a thing, if it still is at the revision that the sender expects."""

    request_id: str  # answered with
    at: datetime
    body: msgspec.Raw  # JSON; for flows a FlowBody
    expected_revision: int | None = None  # None: whatever it is; 0: must not exist
    by: str | None = None
    audit: AuditNote | None = None  # None: the change has no entry in the audit log


class DeleteResource(Value, frozen=True, tag_field="type", tag=True):
    """Delete a thing."""

    request_id: str
    at: datetime
    expected_revision: int | None = None
    by: str | None = None
    audit: AuditNote | None = None  # as above


ResourceCommand = SaveResource | DeleteResource
RESOURCE_COMMAND_DECODER: msgspec.json.Decoder[ResourceCommand] = msgspec.json.Decoder(ResourceCommand)


class Resource(Value, frozen=True):
    """A saved thing as it is, on the topic `resources`; the record's key names it."""

    revision: int  # counts from 1, goes on after a deletion
    updated: datetime
    body: msgspec.Raw
    deleted: bool = False
    by: str | None = None


RESOURCE_DECODER: msgspec.json.Decoder[Resource] = msgspec.json.Decoder(Resource)


class FlowBody(Value, frozen=True):
    """The body of a saved flow."""

    source: str  # the YAML, byte for byte as it came


FLOW_BODY_DECODER: msgspec.json.Decoder[FlowBody] = msgspec.json.Decoder(FlowBody)


_NULL = msgspec.Raw(b"null")


class KeyValueBody(Value, frozen=True, omit_defaults=True):
    """The body of a saved pair (KVS-01)."""

    type: str  # a ValueType
    created: datetime
    value: msgspec.Raw = _NULL  # JSON; not looked at when it is in the file `uri`
    uri: str | None = None
    expires: datetime | None = None
    description: str | None = None


KEY_VALUE_BODY_DECODER: msgspec.json.Decoder[KeyValueBody] = msgspec.json.Decoder(KeyValueBody)


class FileRevision(Value, frozen=True, omit_defaults=True):
    """One content of a namespace file."""

    revision: int
    uri: (
        str  # where the content is; each has a place of its own, so that no upload touches what is being read
    )
    size: int  # bytes
    updated: datetime
    by: str | None = None


class NamespaceFileBody(Value, frozen=True, omit_defaults=True):
    """The body of a namespace file, or of a folder: that has no revisions."""

    created: datetime
    revisions: tuple[FileRevision, ...] = ()  # ascending


NAMESPACE_FILE_BODY_DECODER: msgspec.json.Decoder[NamespaceFileBody] = msgspec.json.Decoder(NamespaceFileBody)


class ResourceReply(Value, frozen=True):
    """The answer to a command, on the topic `replies`, in the partition that the sender named in `reply-to`."""

    request_id: str
    key: str  # the resource's key
    resource: Resource | None = None  # as it is now
    conflict: str | None = None  # why nothing was changed


REPLY_DECODER: msgspec.json.Decoder[ResourceReply] = msgspec.json.Decoder(ResourceReply)
