"""What of an execution that is over has to be opened again: the task runs that failed, and those around them.

In comes an execution whose `past` is known, out go steps, those around first; the deciders of restarts, of the retry of
a flow and of replays carry them out.  What was reopened already is no step any more, so the question may be asked
again in the middle.  No state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from graphlib import TopologicalSorter

import msgspec

from flowtide.engine.execution import ROOT, Execution, Run
from flowtide.engine.plan import Plan, TaskPlan
from flowtide.model.flowables import Dag
from flowtide.model.states import STOPPING, State, worst

_HANDLERS = frozenset({"errors", "finally", "afterExecution", "onPause"})
"""Lists that run by themselves whenever their time comes; a pause that runs again tells that it waits again."""

_AS_A_WHOLE = frozenset({"working_directory", "loop_until", "for_each_item", "template"})
"""Constructs whose children cannot run again without those before them: they start again from their beginning."""

_SIDE_BY_SIDE = frozenset({"parallel", "dag", "each_parallel", "items"})


class Kind(Enum):
    """What is to be done with a task run."""

    AROUND = "around"  # it stands around one that runs again
    AGAIN = "again"  # it runs again
    SETTLE = "settle"  # it is over, and what follows it was never opened


class Counts(msgspec.Struct, frozen=True):
    """What a task run counts of its children that are not opened again."""

    opened: int = 0
    worst: State | None = None
    iterations_done: int = 0
    taken: list[int] | None = None
    done: list[int] | None = None


class Step(msgspec.Struct, frozen=True):
    """One task run, and what is to be done with it."""

    kind: Kind
    run: Run
    counts: Counts = Counts()
    branch: str = "tasks"  # of one around: the list that its children stand in


class Lost(ValueError):
    """A task that ran is not where it was in the flow; the text says which one."""


class Reopening:
    """The questions about one execution; costs one look at each of its task runs."""

    def __init__(
        self, execution: Execution, plan: Plan, target: str | None = None, *, failed_too: bool = False
    ) -> None:
        """`target` is the only task run that is to run again, unless `failed_too`; None: all that failed.

        Raises KeyError for an unknown one, Lost.
        """
        self._execution = execution
        self._plan = plan
        self._target = target
        self._failed_too = failed_too
        self._wanted: set[str] = set()  # the target and those around it
        self._children: dict[str, list[Run]] = {}
        self._counting: dict[str, list[Run]] = {}  # the answers of `children`
        if target is not None:
            run = self.run(target)
            while run.run_id != ROOT:
                if run.branch in _HANDLERS:
                    raise Lost(f"task run {target} stands in `{run.branch}`, which runs by itself")
                if not self._is_known(run.parent_id):
                    raise Lost(f"task run {target} is of a former iteration of a loop, which is not kept")
                if run.number <= self.run(run.parent_id).since:
                    raise Lost(
                        f"task run {target} is of a former attempt of `{self.run(run.parent_id).task_id}`"
                    )
                self._wanted.add(run.run_id)
                run = self.run(run.parent_id)
        slots: dict[tuple[str, str, int, int | None], Run] = {}
        for run in [*execution.past.values(), *execution.runs.values()]:
            if run.run_id == ROOT or run.branch in _HANDLERS:
                continue
            if not self._is_known(run.parent_id) or run.number <= self.run(run.parent_id).since:
                continue  # of a former iteration, or a former attempt of its parent
            slot = (run.parent_id, run.branch, run.index, run.iteration)
            known = slots.get(slot)
            # What follows a task run whose state was changed ran again.
            is_newer = known is None or known.number < run.number or run.run_id in self._wanted
            if is_newer and (known is None or known.run_id not in self._wanted):
                slots[slot] = run
        for run in slots.values():
            self._children.setdefault(run.parent_id, []).append(run)

    def run(self, run_id: str) -> Run:
        """A task run, over or not.  Raises KeyError."""
        run = self._execution.runs.get(run_id)
        return run if run is not None else self._execution.past[run_id]

    def _is_known(self, run_id: str) -> bool:
        return run_id in self._execution.runs or run_id in self._execution.past

    def children(self, run: Run) -> list[Run]:
        """The children in a task run's own lists that count: of its last attempt, without its handlers'.

        What follows one that ran again, or was said to have ended otherwise, runs again after it; until it did, what
        ran there before does not count any more.
        """
        found = self._counting.get(run.run_id)
        if found is None:
            found = self._children.get(run.run_id, [])
            construct = self._construct(run)
            if construct == "dag":
                found = self._counting_of_dag(run, found)
            elif construct not in _SIDE_BY_SIDE:
                found = self._counting_of_list(found)
            self._counting[run.run_id] = found
        return found

    def _counting_of_list(self, children: list[Run]) -> list[Run]:
        counting: list[Run] = []
        stopped: set[int | None] = set()  # the iterations in which nothing more counts
        ended: dict[int | None, int] = {}  # iteration -> the end of the last one in it that ran again
        for child in sorted(children, key=lambda child: child.index):
            iteration = child.iteration
            if not self._is_opened_at_any_rate(child):
                outdated = child.number < ended.get(iteration, 0)
                if outdated or iteration in stopped:
                    stopped.add(iteration)
                    continue
                if child.state in STOPPING:
                    stopped.add(iteration)
            counting.append(child)
            if child.reopened is not None:
                ended[iteration] = max(child.ended, ended.get(iteration, 0))
        return counting

    def _counting_of_dag(self, run: Run, children: list[Run]) -> list[Run]:
        places = {child.task_id: child for child in children}
        needs = self._needs(run)
        outdated: set[str] = set()
        # task -> the end of the last one that ran again, of it and all that it needs
        ended: dict[str, int] = {}
        for task_id in TopologicalSorter(needs).static_order():
            ended[task_id] = max((ended[needed] for needed in needs[task_id]), default=0)
            child = places.get(task_id)
            if child is None:
                continue
            is_outdated = child.number < ended[task_id] or not needs[task_id].isdisjoint(outdated)
            if is_outdated and not self._is_opened_at_any_rate(child):
                outdated.add(task_id)
            elif child.reopened is not None:
                ended[task_id] = max(child.ended, ended[task_id])
        return [child for child in children if child.task_id not in outdated]

    def _is_opened_at_any_rate(self, run: Run) -> bool:
        """Whether it is the target or around it; a replay goes on from what comes before a target that is outdated."""
        return run.run_id in self._wanted and not self._failed_too

    def steps(self) -> Iterator[Step]:
        """Everything that is left to be done, in its order."""
        execution = self._execution
        around: list[Run] = []
        stack = [execution.progress.root]
        while stack:
            run = stack.pop()
            if run.run_id in execution.past:
                if not self.is_around(run):
                    self.task(run)
                    yield Step(Kind.AGAIN, run)
                    continue
                self.task(run)
                yield Step(Kind.AROUND, run, self.counts(run), self.children(run)[0].branch)
            elif run.state is State.RESTARTED:
                continue
            around.append(run)
            again = [child for child in self.children(run) if self.is_wanted(child)]
            stack.extend(sorted(again, key=lambda child: child.number, reverse=True))
        for run in around:
            for child in self.unfollowed(run):
                yield Step(Kind.SETTLE, child)

    def is_wanted(self, run: Run) -> bool:
        """Whether a task run is opened again, or was."""
        if run.run_id not in self._execution.past:
            return True
        if self._target is not None:
            if run.run_id in self._wanted or not self._failed_too:
                return run.run_id in self._wanted
            return run.state in STOPPING and not self._follows(run)
        return run.state in STOPPING

    def _follows(self, run: Run) -> bool:
        """Whether a task run stands behind the target, or behind one around it, in its list."""
        parent = self.run(run.parent_id)
        if self._construct(parent) == "dag":
            wanted = (each for each in self._children.get(run.parent_id, ()) if each.run_id in self._wanted)
            return any(run.task_id in self._dependents(parent, each) for each in wanted)
        if self._construct(parent) in _SIDE_BY_SIDE:
            return False
        for other in self._children.get(run.parent_id, ()):
            if other.run_id in self._wanted:
                return other.iteration == run.iteration and other.index < run.index
        return False

    def is_around(self, run: Run) -> bool:
        """Whether only some of its children run again, and not the task run itself."""
        if run.run_id == self._target:
            return False
        if run.run_id == ROOT:
            return True
        task = self.task(run)
        if task.construct is None or task.construct in _AS_A_WHOLE:
            return False
        return bool(self.children(run))

    def task(self, run: Run) -> TaskPlan:
        """The task of a task run.  Raises Lost when this revision of the flow has it elsewhere, or not at all."""
        task = self._plan.tasks.get(run.task_id)
        parent = self.run(run.parent_id)
        if task is None or task.parent is None or task.parent.id != parent.task_id:
            raise Lost(f"revision {self._plan.revision} of the flow has no task `{run.task_id}` in its place")
        if not any(task in tasks for tasks in task.parent.branches.values()):
            raise Lost(f"revision {self._plan.revision} of the flow does not run task `{run.task_id}`")
        return task

    def kept(self, run: Run) -> list[Run]:
        """The children of one around that are not opened again, and count."""
        children = self.children(run)
        kept = [child for child in children if not self.is_wanted(child)]
        again = [child for child in children if self.is_wanted(child)]
        first = next((child for child in again if child.run_id in self._wanted), None)
        if first is not None and self._construct(run) == "dag":
            behind = self._dependents(run, first)
            return [child for child in kept if child.task_id not in behind]
        if first is None or self._construct(run) in _SIDE_BY_SIDE:
            return kept
        return [child for child in kept if child.iteration != first.iteration or child.index < first.index]

    def counts(self, run: Run) -> Counts:
        """What one around counts of its children at first."""
        kept = self.kept(run)
        found: State | None = None
        done = 0
        for child in kept:
            found = child.state if found is None else worst(found, child.state)
            done += child.iteration is not None and (child.last or child.state in STOPPING)
        places = [
            child.index if child.iteration is None else child.iteration
            for child in [*kept, *(each for each in self.children(run) if self.is_wanted(each))]
            if child.iteration is not None or run.iterations is None
        ]
        unordered = self._construct(run) == "dag"
        return Counts(
            opened=max(places, default=-1) + 1,
            worst=found,
            iterations_done=done,
            taken=places if unordered else None,
            done=[child.index for child in kept] if unordered else None,
        )

    def unfollowed(self, run: Run) -> list[Run]:
        """The children of one around that are over, after which something has to be opened, or the list is over."""
        kept = self.kept(run)
        if any(child.state in STOPPING for child in kept):
            # The list is over when the target is.
            return []
        again = [child for child in self.children(run) if self.is_wanted(child)]
        if self._construct(run) in _SIDE_BY_SIDE:
            return kept[-1:]
        last: dict[int | None, Run] = {}
        for child in [*kept, *again]:
            known = last.get(child.iteration)
            if known is None or known.index < child.index:
                last[child.iteration] = child
        ended = [child for child in last.values() if child.run_id in self._execution.past and child in kept]
        if not any(child.iteration is not None for child in ended):
            return ended
        waiting = [child for child in ended if not child.last]
        return waiting + [child for child in ended if child.last][:1]

    def _dependents(self, run: Run, child: Run) -> set[str]:
        """The tasks of a Dag that wait for a child's task, and for those."""
        found = {child.task_id}
        while True:
            more = {name for name, needs in self._needs(run).items() if needs & found} - found
            if not more:
                return found
            found |= more

    def _needs(self, run: Run) -> Mapping[str, frozenset[str]]:
        definition = self._plan.task(run.task_id).task
        assert isinstance(definition, Dag)
        return definition.dependencies

    def _construct(self, run: Run) -> str | None:
        return self._plan.task(run.task_id).construct
