"""What administrators save for a whole installation: kill switches, announcements, worker groups, the maintenance.

Bodies of saved things (tenant `_system`), camelCase as the API shows them.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from flowtide.model.records import Value

MAINTENANCE = "flowtide.maintenance"
"""The setting that says that the installation is in maintenance; deleted when it is not."""

KILL_SWITCH_LABEL = "system.killSwitch"
"""The label of executions that a kill switch ended; its value is the switch's id (KS-03, GAP-11)."""


class SwitchType(StrEnum):
    """What a kill switch does (`EvaluationType`)."""

    PASS = "PASS"  # noqa: S105 - the API's word: nothing
    KILL = "KILL"
    CANCEL = "CANCEL"
    IGNORE = "IGNORE"


class KillSwitch(Value, frozen=True):
    """A kill switch (KS-01, REC-08); the fields that are set say what it is about."""

    name: str
    evaluation_type: SwitchType
    start_date: datetime
    end_date: datetime | None = None
    tenant_id: str | None = None  # None: all tenants
    namespace: str | None = None  # with those below it
    flow_id: str | None = None
    execution_ids: tuple[str, ...] = ()
    description: str | None = None
    enabled: bool = True
    deleted: bool = False  # archived: it does nothing and stays visible (KS-05)

    def is_on(self, now: datetime) -> bool:
        """Whether it does anything now."""
        live = self.enabled and not self.deleted and self.evaluation_type is not SwitchType.PASS
        return live and self.start_date <= now and (self.end_date is None or now < self.end_date)

    def is_about(self, tenant: str, namespace: str, flow_id: str, execution_id: str) -> bool:
        """Whether an execution is in its scope (KS-04)."""
        return (
            self.tenant_id in (None, tenant)
            and (
                self.namespace is None
                or namespace == self.namespace
                or namespace.startswith(f"{self.namespace}.")
            )
            and self.flow_id in (None, flow_id)
            and (not self.execution_ids or execution_id in self.execution_ids)
        )


class BannerType(StrEnum):
    """How grave an announcement is."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Banner(Value, frozen=True):
    """An announcement (ANN-01)."""

    message: str
    type: BannerType = BannerType.INFO
    title: str | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    tenant_id: str | None = None  # None: for everybody

    def is_active(self, now: datetime) -> bool:
        """Whether people see it now."""
        begun = self.start_date is None or self.start_date <= now
        return begun and (self.end_date is None or now < self.end_date)


class WorkerGroupBody(Value, frozen=True):
    """A worker group (WG-01); groups that nobody saved work as well (decision 0013)."""

    key: str
    description: str | None = None
    allowed_tenants: tuple[str, ...] | None = None  # None: all of them


class Maintenance(Value, frozen=True):
    """Since when an installation is in maintenance."""

    since: datetime


KILL_SWITCH_DECODER: msgspec.json.Decoder[KillSwitch] = msgspec.json.Decoder(KillSwitch)
BANNER_DECODER: msgspec.json.Decoder[Banner] = msgspec.json.Decoder(Banner)
WORKER_GROUP_DECODER: msgspec.json.Decoder[WorkerGroupBody] = msgspec.json.Decoder(WorkerGroupBody)
