"""The kills that a worker heard of: a job that was handed out before its kill must not start after it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

from flowtide.model.jobs import KillRun, RunTask
from flowtide.services.worker.attempt import Attempt

_REMEMBERED: Final = 10_000


class Kills:
    """The latest kills, by what they name."""

    def __init__(self) -> None:
        self._heard: OrderedDict[tuple[str, str, str, int | None], KillRun] = OrderedDict()

    def remember(self, kill: KillRun) -> None:
        """Note a kill; the oldest of very many is forgotten."""
        self._heard[kill.tenant_id, kill.execution_id, kill.run_id, kill.attempt] = kill
        if len(self._heard) > _REMEMBERED:
            self._heard.popitem(last=False)

    def names(self, job: RunTask) -> bool:
        """Whether a job was to be ended before it could start."""
        if not self._heard:
            return False
        run = (job.tenant_id, job.execution_id, job.run_id)
        kills = (
            self._heard.get((job.tenant_id, job.execution_id, "", None)),
            self._heard.get((*run, None)),
            self._heard.get((*run, job.attempt)),
        )
        return any(kill is not None and job.at <= kill.at for kill in kills)


def named_by(kill: KillRun, attempts: Iterable[Attempt]) -> Iterator[Attempt]:
    """The attempts that a kill is for."""
    for attempt in attempts:
        job = attempt.job
        same = (job.tenant_id, job.execution_id) == (kill.tenant_id, kill.execution_id)
        named = kill.run_id == job.run_id and kill.attempt in (None, job.attempt)
        if same and (named or not kill.run_id) and job.at <= kill.at:
            yield attempt
