"""A flow made ready for deciding: its tasks with their places, compiled conditions, and what their expressions name.

In comes a validated flow, out goes a `Plan`, built once per revision and kept by the caller.  Disabled tasks are left
out, so that nothing later needs to know of them (TSK-05).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from flowtide.engine.needs import roots_of
from flowtide.engine.support import unsupported
from flowtide.expressions import IO_FUNCTIONS, References, Template, compile_template, references_of
from flowtide.model.directories import DirectoryTask
from flowtide.model.encrypted import Cipher
from flowtide.model.flow import AssertionSla, Flow
from flowtide.model.flowables.for_each_item import GatherOutputs, MergeOutputs
from flowtide.model.flowables.template import Template as TemplateTask
from flowtide.model.listeners import listener_tasks
from flowtide.model.records import encode
from flowtide.model.task import FlowableTask, Task, WorkerGroup

_DIRECTORY = "working_directory"
PHASES = ("tasks", "errors", "finally", "afterExecution")


_TEMPLATES_WITHIN = 10  # of templates within templates: more is one that uses itself

TemplateLookup = Callable[[str, str], Flow | None]
"""(namespace, id) -> the template, read as a flow; None when there is none."""


class AssertionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """An assertion that must hold while the flow runs, and the tasks whose outputs it names."""

    sla: AssertionSla
    tasks: frozenset[str]


class TaskPlan:
    """One task of a plan, or the root that holds the flow's own lists."""

    __slots__ = (
        "branches",
        "construct",
        "directory",
        "gathers",
        "groups",
        "id",
        "parent",
        "raw",
        "references",
        "refused",
        "roots",
        "run_if",
        "task",
        "type",
    )

    def __init__(self, task: Task | None, parent: TaskPlan | None) -> None:
        self.task = task
        self.id = task.id if task is not None else ""
        self.type = task.type if task is not None else ""
        self.parent = parent
        self.construct: str | None = task.construct if isinstance(task, FlowableTask) else None
        # The task around it whose directory it works in; None: it has none, or one of its own.
        self.directory: TaskPlan | None = None
        if parent is not None:
            self.directory = parent if parent.construct == _DIRECTORY else parent.directory
        self.branches: dict[str, list[TaskPlan]] = {}
        self.raw = msgspec.Raw(b"null")  # of tasks that begin at a worker: their JSON, as it travels in jobs
        self.references = References(paths=frozenset(), dynamic=False, functions=frozenset())
        self.roots: Container[str] = frozenset()  # the root variables that the references start from
        self.run_if: Template | None = None  # None: always
        # The worker groups that it may go to, the first first, with the names of the properties that tell them.
        self.groups: tuple[tuple[str, WorkerGroup], ...] = ()
        if task is not None and task.worker_group is not None:
            self.groups = (("workerGroup.key", task.worker_group),)
        self.refused: str | None = None  # why it fails when it is started
        # The task whose batches' outputs it takes, or gathers.
        self.gathers = task.batches if isinstance(task, GatherOutputs | MergeOutputs) else None

    @property
    def begins_at_worker(self) -> bool:
        """Whether a worker takes a job when the task run begins."""
        return self.construct is None or self.construct == _DIRECTORY

    @property
    def is_runnable(self) -> bool:
        """Whether workers run it."""
        return self.task is not None and self.construct is None

    def take_properties(self, properties: Mapping[str, Any]) -> None:
        """Note what workers are sent of the task."""
        self.raw = msgspec.Raw(encode(properties))
        self.references = _whole_in_nested_loops(references_of(properties), self)
        self.roots = roots_of(self.references)

    def __repr__(self) -> str:
        return f"TaskPlan({self.id!r})"


class Plan:
    """A flow, ready.  Frozen after it was built; shared by all executions of the revision."""

    def __init__(
        self,
        flow: Flow,
        *,
        tenant: str,
        revision: int,
        instance_variables: Mapping[str, Any] | None = None,
        cipher: Cipher | None = None,
        subflow_outputs: bool = False,
        namespace_variables: Mapping[str, Any] | None = None,
        templates: TemplateLookup | None = None,
        listeners: bool = False,
        default_groups: Iterable[tuple[str, WorkerGroup]] = (),
    ) -> None:
        """`default_groups` are the worker groups of what is neither a task's nor the flow's, with what to call them.

        `templates` gives those that the deprecated Template names; None: they are disabled.

        `listeners` tells whether the flow's deprecated listeners run.
        """
        self.flow = flow
        self.uses_templates = False  # whether its tasks may change while its executions run
        self._templates = templates
        self.cipher = cipher  # of SECRET inputs and outputs; None: no key is configured, they fail
        self.subflow_outputs = subflow_outputs  # whether the deprecated `outputs` of Subflow work (SUB-03)
        self.instance_variables = instance_variables or {}  # `envs`, `globals`, `kestra`: what all flows see
        self.namespace_variables = namespace_variables or {}  # of the flow's namespace and of those above it
        self.unsupported = unsupported(flow)  # what would be ignored; executions of such a flow fail at once
        self.assertions = [_assertion(sla, flow) for sla in flow.sla if isinstance(sla, AssertionSla)]
        self.tenant = tenant
        self.namespace = flow.namespace
        self.flow_id = flow.id
        self.revision = revision
        self.tasks: dict[str, TaskPlan] = {}
        self.root = TaskPlan(None, None)
        if flow.worker_group is not None:
            self.root.groups = (("workerGroup.key of the flow", flow.worker_group),)
        self.root.groups += tuple(default_groups)
        self.root.construct = "root"
        lists: Mapping[str, Sequence[Task]] = {
            "tasks": flow.tasks,
            "errors": flow.errors,
            "finally": flow.finally_,
            # Each listener stands for itself, so they come before what may fail.
            "afterExecution": [*(listener_tasks(flow.listeners) if listeners else ()), *flow.after_execution],
        }
        for name, tasks in lists.items():
            self.root.branches[name] = self._plan_list(tasks, self.root)

    def task(self, task_id: str) -> TaskPlan:
        """The task of an id; the root for the empty one.  Raises KeyError."""
        return self.tasks[task_id] if task_id else self.root

    def __iter__(self) -> Iterator[TaskPlan]:
        return iter(self.tasks.values())

    def _plan_list(self, tasks: Sequence[Task], parent: TaskPlan) -> list[TaskPlan]:
        return [self._plan_task(task, parent) for task in tasks if not task.disabled]

    def _plan_task(self, task: Task, parent: TaskPlan) -> TaskPlan:
        plan = TaskPlan(task, parent)
        plan.groups += self.root.groups
        self.tasks[task.id] = plan
        run_if = task.run_if
        if run_if is not True and run_if != "true":
            plan.run_if = compile_template(run_if if isinstance(run_if, str) else "false")
        if isinstance(task, FlowableTask):
            for name, children in task.branches().items():
                plan.branches[name] = self._plan_list(children, plan)
            plan.branches["errors"] = self._plan_list(task.errors, plan)
            plan.branches["finally"] = self._plan_list(task.finally_, plan)
            if isinstance(task, TemplateTask):
                self._plan_template(task, plan)
            if isinstance(task, DirectoryTask):
                plan.take_properties(task.block_document())
        else:
            properties = task.model_dump(mode="json", by_alias=True, exclude_unset=True)
            properties.pop("description", None)
            properties.pop("runIf", None)  # decided before the task is handed out
            plan.take_properties(properties)
        return plan

    def _plan_template(self, task: TemplateTask, plan: TaskPlan) -> None:
        """Put the tasks of the template below the task, or note why that cannot be."""
        self.uses_templates = True
        name = f"{task.namespace}.{task.template_id}"
        plan.branches["tasks"] = []
        template = self._templates(task.namespace, task.template_id) if self._templates is not None else None
        around = 0
        above = plan.parent
        while above is not None:
            around += above.construct == "template"
            above = above.parent
        if self._templates is None:
            plan.refused = (
                "templates are deprecated and disabled: the setting `templates.enabled` enables them"
            )
        elif template is None:
            plan.refused = f"there is no template {name}"
        elif around >= _TEMPLATES_WITHIN:
            plan.refused = f"the template {name} uses itself"
        else:
            known = self.flow.tasks_by_id.keys() | self.tasks.keys()
            twice = sorted(known & template.tasks_by_id.keys())
            if twice:
                plan.refused = (
                    f"the template {name} has a task `{twice[0]}`, and so has the flow, or a template before"
                )
                return
            plan.branches["tasks"] = self._plan_list(template.tasks, plan)
            if not plan.branches["errors"]:
                plan.branches["errors"] = self._plan_list(template.errors, plan)


def _assertion(sla: AssertionSla, flow: Flow) -> AssertionPlan:
    named = {
        str(path[1])
        for path in references_of(sla.assert_).paths
        if len(path) > 1 and path[0] in ("outputs", "tasks")
    }
    return AssertionPlan(sla=sla, tasks=frozenset(named & flow.tasks_by_id.keys()))


def _whole_in_nested_loops(references: References, task: TaskPlan) -> References:
    """Inside several loops `currentEachOutput(outputs.x)` looks below the values of all of them, so all is needed."""
    loops = 0
    above = task.parent
    while above is not None:
        loops += above.construct in ("for_each", "each_parallel")
        above = above.parent
    if loops < 2 or "currentEachOutput" not in references.functions:
        return references
    paths = frozenset(path[:2] if path[0] == "outputs" else path for path in references.paths)
    return References(paths=paths, dynamic=references.dynamic, functions=references.functions)


def needs_io(value: Any) -> bool:
    """Whether rendering a property needs a worker, because it does input or output."""
    return bool(references_of(value).functions & IO_FUNCTIONS)
