"""Kill switches and the maintenance, as the *executions* processor asks for them (KS-02, MM-01; decision 0047)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from msgspec.structs import replace

from flowtide.log.keys import ExecutionKey
from flowtide.model.commands import CreateExecution, KillExecution
from flowtide.model.records import Label
from flowtide.model.states import State


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a kill switch does to an execution."""

    state: State | None  # KILLED or CANCELLED; None: everything about it is ignored
    label: Label  # names the switch
    by: str | None = None  # who switched it on


class Switches(Protocol):
    """The kill switches and the maintenance of the installation; asked for every command, so cheap and from memory."""

    @property
    def are_on(self) -> bool:
        """Whether there is any of it at all."""
        ...

    @property
    def maintenance(self) -> bool:
        """Whether no execution may begin."""
        ...

    def verdict(
        self, tenant: str, namespace: str, flow_id: str, execution_id: str, now: datetime
    ) -> Verdict | None:
        """What is done to an execution; None: nothing."""
        ...


def of_creation(
    switches: Switches, key: ExecutionKey, command: CreateExecution, now: datetime
) -> CreateExecution | None:
    """What is left of the creation of an execution: itself, one that is stopped or held, or nothing (IGNORE)."""
    verdict = switches.verdict(key.tenant, command.namespace, command.flow_id, key.execution_id, now)
    if verdict is None:
        return replace(command, held=True) if switches.maintenance else command
    if verdict.state is None:
        return None
    return replace(command, stopped=verdict.state, labels=[*command.labels, verdict.label])


def stopping(verdict: Verdict, outcome: State, now: datetime) -> KillExecution:
    """What ends an execution that runs already, once that what it runs has finished."""
    return KillExecution(
        at=now, state=outcome, cascade=False, graceful=True, labels=[verdict.label], by=verdict.by
    )
