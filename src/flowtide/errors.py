"""The tree of errors that Flowtide raises on purpose; each carries fields, not only a text.

FlowtideError
  SettingsError                settings are wrong; carries every problem with file or variable and key
  ExpressionError              a template could not be rendered
    ExpressionSyntaxError      ... because its text is not a template
    ExpressionUndefinedError   ... because it names a variable that does not exist
    ExpressionTimeout          ... in the time that it may take where it is rendered
  FlowInvalid                  a flow's YAML is refused; carries every violation with path and line
  DashboardInvalid             a dashboard or chart is refused; carries every violation with path and line
  ChartRefused                 the data of a chart cannot be computed as it was asked for
  PluginUnavailable            a plugin's class cannot be imported
  InputError                   inputs of an execution are missing or wrong; carries every problem
  ScheduleInvalid              a cron expression or time zone cannot be read
  ResourceConflict             a save was refused: the thing is not as the sender expects
  ValueInvalid                 a value or name that somebody gave is not of the kind that is needed
  LoginRefused                 a provider of identities did not say who somebody is, or not credibly
  DirectoryUnavailable         a directory of people cannot be asked; try again later
  NamespaceForbidden           a namespace does not let flows of another one at what is its own
  ReplyMissing                 a processor did not answer in time; the outcome is unknown
  LogError                     the log refused something
    LogUnavailable             ... because it cannot be reached, opened or written; try again later
      LogLocked                ... because another process has it open
    Fenced                     ... because this member was replaced: throw all away, close, start again
    MessageTooLarge            ... because a record is larger than the limit
    GroupBusy                  ... because a group's positions cannot move while it has members
    UnknownTopic               ... because no topic of this name was ensured
  StorageError                 a stored file could not be had or written
    StorageUriInvalid            ... because its URI is none, or would leave the tenant's folder
    FileMissing                  ... because there is no such file
    FileForbidden                ... because it belongs to others
    StorageUnavailable           ... because the backend failed; try again later
  SecretMissing                there is no secret of this name
  SecretInvalid                the value that the operator gave for a secret cannot be read
  StorageMisconfigured         the storage's settings name a kind or an option that is not there
  TaskFailed                   raised by tasks: the attempt ends FAILED with this message
  TaskWarning                  raised by tasks: the attempt ends WARNING, with outputs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class FlowtideError(Exception):
    """The root of every error that a person may see; `code` is stable and links to the documentation."""

    code: str = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class ExpressionError(FlowtideError):
    """A template failed to render.

    `line` and `column` count from 1 and are 0 where no place is known; `source` is the whole template.
    The message shows the place and, where one is known, the fix. It never contains values of variables.
    """

    code = "expression"

    def __init__(
        self,
        message: str,
        *,
        line: int = 0,
        column: int = 0,
        source: str = "",
        code: str | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.line = line
        self.column = column
        self.source = source


class ExpressionSyntaxError(ExpressionError):
    """The text is not a valid template; rendering it again cannot help."""

    code = "expression-syntax"


class ExpressionTimeout(ExpressionError):
    """Rendering took too long; who has more time may render it again."""

    code = "expression-timeout"


class ExpressionUndefinedError(ExpressionError):
    """The template names a variable, key or index that does not exist; `name` is the part not found."""

    code = "expression-undefined"

    def __init__(
        self, message: str, *, name: str = "", line: int = 0, column: int = 0, source: str = ""
    ) -> None:
        super().__init__(message, line=line, column=column, source=source)
        self.name = name


class LogError(FlowtideError):
    """The log refused what it was asked."""

    code = "log"


class LogUnavailable(LogError):
    """The log cannot be reached, opened or written; the same call may work later."""

    code = "log-unavailable"


class LogLocked(LogUnavailable):
    """Another process has the embedded log open."""

    code = "log-locked"


class Fenced(LogError):
    """A member of a group was replaced: nothing was written, and nothing that it holds is valid any more."""

    code = "log-fenced"

    def __init__(self, group: str, instance: str, partition: object = None) -> None:
        what = "is no longer a member" if partition is None else f"does not own {partition}"
        super().__init__(f"{instance} {what} of group {group}; close this consumer and open a new one")
        self.group = group
        self.instance = instance
        self.partition = partition


class MessageTooLarge(LogError):
    """A record is larger than the log takes; `size_bytes` is 0 where the broker did not tell."""

    code = "log-message-too-large"

    def __init__(self, topic: str, key: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"a record of {size_bytes:,} bytes for {key} on {topic} is over the limit of {limit_bytes:,}"
            "; pass large values by file instead, or raise the limit"
        )
        self.topic = topic
        self.key = key
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class GroupBusy(LogError):
    """The positions of a group cannot be moved while it has members."""

    code = "log-group-busy"

    def __init__(self, group: str, members: int) -> None:
        super().__init__(f"group {group} has {members} running member(s); stop them, then move its positions")
        self.group = group
        self.members = members


class UnknownTopic(LogError):
    """A topic was named that `ensure_topics` has not seen."""

    code = "log-unknown-topic"

    def __init__(self, topic: str) -> None:
        super().__init__(f"there is no topic {topic}; a server creates it when it starts, from topics/")
        self.topic = topic


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """One thing that is wrong with a document that a person wrote."""

    path: str  # e.g. "tasks[0].then[1].message"; empty for the document as a whole
    message: str
    line: int = 0  # counts from 1; 0 where no place is known
    column: int = 0

    def __str__(self) -> str:
        place = ", ".join(part for part in (f"line {self.line}" if self.line else "", self.path) if part)
        return f"{place}: {self.message}" if place else self.message


class FlowInvalid(FlowtideError):
    """A flow was refused; `violations` says what is wrong and where, in the order of the document."""

    code = "flow-invalid"

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__(
            "\n".join(str(violation) for violation in self.violations) or "the flow is not valid"
        )


class DashboardInvalid(FlowtideError):
    """A dashboard or a chart was refused; `violations` says what is wrong and where, in the order of the document."""

    code = "dashboard-invalid"

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("\n".join(str(violation) for violation in self.violations))


class ChartRefused(FlowtideError):
    """The data of a chart cannot be computed as it was asked for; the message says what to ask for instead."""

    code = "chart-refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class InputProblem:
    """What is wrong with the value of one input."""

    input_id: str
    message: str  # the whole sentence, with the id in it


class InputError(FlowtideError):
    """Inputs are missing or wrong; `problems` holds all of them, in the order of the flow's inputs."""

    code = "inputs-invalid"

    def __init__(self, problems: Sequence[InputProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.message for problem in self.problems))


class IndexFailed(FlowtideError):
    """The index refused what it was asked; the same call will be refused again."""

    code = "index"


class IndexUnavailable(IndexFailed):
    """The index cannot be reached, opened or written; the same call may work later."""

    code = "index-unavailable"


class IndexQueryInvalid(IndexFailed):
    """A query names a field, an operation, a value or a cursor that the index does not have; `field` may be empty."""

    code = "index-query-invalid"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class StorageError(FlowtideError):
    """A stored file could not be read, written or removed."""

    code = "storage"


class StorageUriInvalid(StorageError):
    """The text is no URI of a stored file, or it points out of the tenant's folder."""

    code = "storage-uri"


class FileMissing(StorageError):
    """There is no such file: never stored, or purged."""

    code = "file-missing"


class FileForbidden(StorageError):
    """The file belongs to an execution whose files the reader may not see."""

    code = "file-forbidden"


class StorageUnavailable(StorageError):
    """The backend failed (disk full, network, credentials); the cause says how."""

    code = "storage-unavailable"


class StorageMisconfigured(StorageError):
    """The settings of the storage name a kind, option or package that is not there."""

    code = "storage-misconfigured"


class SecretMissing(FlowtideError):
    """There is no secret of this name in the namespace."""

    code = "secret-missing"


class SecretInvalid(FlowtideError):
    """A secret is there, but what the operator stored cannot be decoded; the message never shows it."""

    code = "secret-invalid"


class SecretsReadOnly(FlowtideError):
    """Secrets cannot be changed here: the message says where they can (SEC-22)."""

    code = "secrets-read-only"


class TaskFailed(FlowtideError):
    """Raised by a task: the attempt ends FAILED with this message, and with the outputs collected so far."""

    code = "task-failed"

    def __init__(self, message: str, *, outputs: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.outputs = dict(outputs or {})


class TaskWarning(FlowtideError):
    """Raised by a task: the attempt ends WARNING; its outputs travel here."""

    code = "task-warning"

    def __init__(self, message: str, *, outputs: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.outputs = dict(outputs or {})


class PluginUnavailable(FlowtideError):
    """A plugin is installed, but its class cannot be imported."""

    code = "plugin-unavailable"

    def __init__(self, *, kind: str, name: str, reason: str) -> None:
        super().__init__(f"the {kind} type `{name}` is installed but cannot be loaded ({reason})")
        self.kind = kind
        self.name = name


class ScheduleInvalid(FlowtideError):
    """A cron expression or a time zone cannot be read; the message names it."""

    code = "schedule-invalid"


class ResourceConflict(FlowtideError):
    """Nothing was saved or deleted: the thing is at another revision, exists already, or does not exist.

    `key` names it (tenant/kind/identifier); `revision` is its revision now, 0 when it never existed.
    """

    code = "resource-conflict"

    def __init__(self, message: str, *, key: str, revision: int = 0) -> None:
        super().__init__(message)
        self.key = key
        self.revision = revision


class ValueInvalid(FlowtideError):
    """A value or a name is not of the kind that is needed; the message says which and what to give."""

    code = "value-invalid"


class LoginRefused(FlowtideError):
    """An identity provider did not say who somebody is, or not so that it can be believed."""

    code = "login-refused"


class DirectoryUnavailable(FlowtideError):
    """A directory of people (LDAP) cannot be asked, or refuses to be; who logs in tries again later."""

    code = "directory-unavailable"


class NamespaceForbidden(FlowtideError):
    """A namespace does not let flows of another one at its flows, pairs, files or secrets (NSP-06)."""

    code = "namespace-forbidden"


class ReplyMissing(FlowtideError):
    """A command was written, but no processor answered in time: it may still be carried out."""

    code = "reply-missing"


class SettingsError(FlowtideError):
    """Settings are wrong; each of `problems` says what, where it stands and what is expected."""

    code = "settings"

    def __init__(self, problems: Sequence[str]) -> None:
        many = f"{len(problems)} settings are wrong:\n" if len(problems) > 1 else ""
        super().__init__(many + "\n".join(f"- {line}" if many else line for line in problems))
        self.problems = tuple(problems)
