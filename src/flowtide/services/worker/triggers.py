"""The triggers that one worker evaluates and listens to now: jobs and controls come in, reports go out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from flowtide.log.port import Message
from flowtide.model.jobs import StopTrigger, TriggerJob
from flowtide.model.plugin import Registry
from flowtide.services.worker.attempt import Tools
from flowtide.services.worker.trigger_jobs import TriggerRun, handed_back


class Host(Protocol):
    """What the worker does for them."""

    def take_slot(self) -> bool:
        """Take one of the slots; False when none is free."""
        ...

    def free_slot(self) -> None:
        """Give a slot back."""
        ...


class TriggerRuns:
    """State: what runs, and the jobs whose start may be written although the log did not say so."""

    def __init__(
        self,
        host: Host,
        registry: Registry,
        tools: Tools,
        *,
        worker_id: str,
        on_problem: Callable[[str], None],
    ) -> None:
        self._host = host
        self._registry = registry
        self._tools = tools
        self._worker_id = worker_id
        self._on_problem = on_problem
        self._runs: dict[str, TriggerRun] = {}  # by the job's id
        self._doubtful: list[TriggerJob] = []

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def listening(self) -> int:
        """How many listen, beside the slots."""
        return sum(not run.takes_slot for run in self._runs.values())

    def take(self, job: TriggerJob) -> tuple[Message, TriggerRun | None] | None:
        """Know of a job from now on; gives the report that it runs and what to `run` once that is committed.

        None when it has to wait for a slot; nothing is to be run when it runs already.
        """
        run = self._runs.get(job.job_id)
        if run is not None:
            return run.started(), None
        run = TriggerRun(
            job, self._registry, self._tools, worker_id=self._worker_id, on_free=self._host.free_slot
        )
        if run.takes_slot and not self._host.take_slot():
            return None
        self._runs[job.job_id] = run
        return run.started(), run

    def forget(self, runs: Sequence[TriggerRun], *, doubtful: bool) -> None:
        """They do not start, as the commit failed; `doubtful`: it may have been written all the same."""
        for run in runs:
            self._runs.pop(run.job.job_id, None)
            if run.takes_slot:
                self._host.free_slot()
            if doubtful:
                self._doubtful.append(run.job)

    def disowned(self) -> list[Message]:
        """What gives up the jobs in doubt, once."""
        jobs, self._doubtful = self._doubtful, []
        return [handed_back(job, self._worker_id, self._tools) for job in jobs]

    async def run(self, run: TriggerRun) -> None:
        """Run one to its end."""
        job = run.job
        try:
            await run.run()
        except Exception as error:  # ours, not the trigger's: nothing was reported, and somebody waits for it
            self._on_problem(f"the job {job.job_id} of the trigger {job.trigger_id} broke: {error!r}")
            run.hand_back()
        finally:
            if self._runs.get(job.job_id) is run:
                del self._runs[job.job_id]

    def control(self, control: StopTrigger) -> None:
        """End what nobody waits for any more."""
        run = self._runs.get(control.job_id)
        if run is not None and run.job.tenant_id == control.tenant_id:
            run.stop()

    def stop_all(self) -> None:
        """End everything without a word: others took this worker for dead."""
        for run in list(self._runs.values()):
            run.stop()

    def hand_back(self, *, evaluations: bool) -> None:
        """Have other workers listen from now on, and (`evaluations`) also evaluate what is not over yet (RTT-02)."""
        for run in list(self._runs.values()):
            if evaluations or not run.takes_slot:
                run.hand_back()
