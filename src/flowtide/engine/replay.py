"""What a replay takes over from the execution that it replays (RPL-01): commands to the new execution.

In comes the old execution with its `past`, and the task run to go on from; out go portions of task runs: those around
it, which run in the new execution, everything that ended before it or beside it, and what has to run.  No state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from flowtide.engine.execution import ROOT, Execution, Head, Run
from flowtide.engine.plan import Plan
from flowtide.engine.reopening import Kind, Reopening
from flowtide.model.commands import ReusedRun, ReuseRuns
from flowtide.model.identifiers import derived_identifier
from flowtide.model.labels import REPLAY, REPLAYED, RESTARTED
from flowtide.model.records import Label, encode
from flowtide.model.states import State

PORTION_BYTES = 250_000
"""How much of the task runs one command carries; far below the limit of a message."""


def replay_fields(head: Head) -> dict[str, Any]:
    """What the creation of a replay takes over from the head of the execution that it replays."""
    labels = [label for label in head.labels if label.key not in (REPLAY, REPLAYED, RESTARTED)]
    return {
        "inputs": head.inputs,
        "inputs_resolved": True,
        "labels": [*labels, Label(key=REPLAY, value="true")],
        "trigger": head.trigger,
        "original_id": head.original_id or head.execution_id,
        "kind": head.kind,
        "attempt_number": head.attempt_number + 1,
        "original_created": head.original_created or head.created,
        "sources": [head.execution_id, *head.sources],
    }


def reused_portions(
    source: Execution,
    plan: Plan,
    target: str,
    execution_id: str,
    *,
    at: datetime,
    documents: Mapping[str, Mapping[str, Any]],
    most: int = 500,
) -> Iterator[ReuseRuns]:
    """The commands that give the new execution what it goes on from, the task run `target` among it.

    `documents` are the old task runs as the API shows them, for their attempts.  Raises KeyError for an unknown task
    run, `Lost` when the flow does not have it in its place.
    """
    replay = _Replay(source, plan, target, execution_id, documents)
    runs = replay.runs()
    counts = replay.reopening.counts(source.progress.root)
    portion: list[ReusedRun] = []
    first = size = 0
    for run in runs:
        weight = len(encode(run))
        if portion and (len(portion) >= most or size + weight > PORTION_BYTES):
            yield ReuseRuns(at=at, first=first, runs=portion)
            first += len(portion)
            portion, size = [], 0
        portion.append(run)
        size += weight
    yield ReuseRuns(at=at, first=first, runs=portion, complete=True, opened=counts.opened, worst=counts.worst)


class _Replay:
    """The task runs of one replay."""

    def __init__(
        self,
        source: Execution,
        plan: Plan,
        target: str,
        execution_id: str,
        documents: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.reopening = Reopening(source, plan, target, failed_too=True)
        self._source = source
        self._execution_id = execution_id
        self._documents = documents

    def runs(self) -> list[ReusedRun]:
        """All of them: around, over, to run, and over with something that was never opened after it."""
        reopening = self.reopening
        around: list[tuple[int, ReusedRun]] = []
        again: list[ReusedRun] = []
        settles: list[Run] = []
        kept: list[Run] = reopening.kept(self._source.progress.root)
        for step in reopening.steps():
            if step.kind is Kind.SETTLE:
                if step.run.parent_id != ROOT:
                    settles.append(step.run)
            elif step.kind is Kind.AGAIN:
                again.append(self._again(step.run))
            else:
                kept += reopening.kept(step.run)
                reused = self._reused(
                    step.run,
                    state=State.RUNNING,
                    entered=step.branch,
                    opened=step.counts.opened,
                    worst=step.counts.worst,
                    iterations_done=step.counts.iterations_done,
                    values=self._source.past_loops.get(step.run.run_id),
                    outputs=step.run.outputs,
                    taken=step.counts.taken,
                    done=step.counts.done,
                )
                around.append((step.run.number, reused))
        below = self._with_descendants(kept)
        last = {run.run_id for run in settles}
        over = [(run.number, self._over(run)) for run in below if run.run_id not in last]
        # As they came to be, so that readers find them in their old order.
        first = [run for _, run in sorted([*around, *over], key=lambda pair: pair[0])]
        return [*first, *again, *(self._over(run, settles=True) for run in settles)]

    def _with_descendants(self, kept: list[Run]) -> list[Run]:
        """What stands below them too, their handlers and former attempts included."""
        children: dict[str, list[Run]] = {}
        for run in self._source.past.values():
            children.setdefault(run.parent_id, []).append(run)
        found: list[Run] = []
        stack = list(kept)
        while stack:
            run = stack.pop()
            found.append(run)
            stack.extend(children.get(run.run_id, ()))
        return found

    def _again(self, run: Run) -> ReusedRun:
        attempts = self._documents.get(run.run_id, {}).get("attempts", [])
        return self._reused(run, state=State.RESTARTED, attempt=len(attempts) or run.attempt + 1)

    def _over(self, run: Run, *, settles: bool = False) -> ReusedRun:
        outputs = run.outputs
        gathering = self._source.gatherings.get(run.parent_id)
        if gathering is not None and run.items is not None and run.iteration in gathering.given:
            outputs = {**(outputs or {}), "outputs": gathering.given[run.iteration]}
        return self._reused(
            run,
            state=run.state,
            attempt=run.attempt,
            outputs=outputs,
            settles=settles,
            values=self._source.past_loops.get(run.run_id),  # a task run in it may be told otherwise later
        )

    def _reused(self, run: Run, **fields: Any) -> ReusedRun:
        document = self._documents.get(run.run_id, {})
        return ReusedRun(
            run_id=self._new_id(run.run_id),
            task_id=run.task_id,
            source_id=run.run_id,
            parent_id=self._new_id(run.parent_id) if run.parent_id != ROOT else None,
            branch=run.branch,
            index=run.index,
            last=run.last,
            value=run.value,
            iteration=run.iteration,
            items=run.items,
            path=run.path,
            attempts=document.get("attempts", []),
            histories=document.get("state", {}).get("histories", []),
            **fields,
        )

    def _new_id(self, run_id: str) -> str:
        return derived_identifier("replay", self._execution_id, run_id)
