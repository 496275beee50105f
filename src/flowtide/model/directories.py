"""Flowable tasks whose tasks share a directory of one worker (FLO-23): what the engine and workers know of them.

The engine runs the tasks; a worker opens the directory before the first and closes it after the last of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from flowtide.model.task import AnyTask, FlowableTask, RunContext, RunnableTask, Task


class DirectoryBlock(RunnableTask):
    """What a worker does with the directory itself; `run` makes it ready, `close` ends it.

    The directory is `context.working_directory`, the same one in both, and for the tasks between them.
    """

    mode: ClassVar[Literal["inline", "async", "thread"]] = "async"

    async def run(self, context: RunContext) -> None:
        """Put into the empty directory what the tasks are to find there.  Raises TaskFailed."""
        raise NotImplementedError

    async def close(self, context: RunContext, *, failed: bool) -> dict[str, Any]:
        """Keep what is to stay when the directory is removed; gives the outputs of the task run.

        `failed`: a task failed, so that what is missing is no failure of its own.  Raises TaskFailed.
        """
        raise NotImplementedError


class DirectoryTask(FlowableTask):
    """Runs its tasks one after the other in one directory on one worker."""

    construct: ClassVar[str] = "working_directory"
    block: ClassVar[type[DirectoryBlock]]

    tasks: Annotated[Sequence[AnyTask], Field(title="The tasks, one after the other", min_length=1)]

    def branches(self) -> Mapping[str, Sequence[Task]]:
        return {"tasks": self.tasks}

    def block_document(self) -> dict[str, Any]:
        """The properties that the worker needs for the directory itself, as JSON values."""
        decided_elsewhere = DirectoryTask.model_fields.keys() - {"id", "type", "log_level"}
        return self.model_dump(
            mode="json", by_alias=True, exclude_unset=True, exclude={*decided_elsewhere, "tasks"}
        )

    @model_validator(mode="after")
    def _tasks_fit_into_one_directory(self) -> DirectoryTask:
        for task in _inside(self):
            if isinstance(task, DirectoryTask):
                raise ValueError(
                    f"the task `{task.id}` has a directory of its own and cannot run in the one of `{self.id}`"
                )
            if task.worker_group is not None:
                raise ValueError(
                    f"the task `{task.id}` cannot have a `workerGroup`: the group of `{self.id}` runs all its tasks"
                )
        return self


def _inside(task: FlowableTask) -> Iterator[Task]:
    for tasks in (*task.branches().values(), task.errors, task.finally_):
        for inner in tasks:
            yield inner
            if isinstance(inner, FlowableTask):
                yield from _inside(inner)
