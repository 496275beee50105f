"""Jobs of triggers on a worker: evaluations of polling triggers and listenings of realtime ones; out go reports.

Conditions and inputs are evaluated here too, because here every function of expressions works (NSF-11).  Conditions
that do not look at what the trigger gives are decided first: nothing is taken from a source in vain.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from flowtide.errors import FlowtideError, TaskFailed
from flowtide.log.keys import TriggerKey
from flowtide.log.port import Message
from flowtide.model.condition import Circumstances, all_hold
from flowtide.model.jobs import EvaluateTrigger, TriggerJob
from flowtide.model.plugin import PluginContext, Registry
from flowtide.model.records import encode
from flowtide.model.trigger import PollingTrigger, RealtimeTrigger, TriggerEvent
from flowtide.model.trigger_records import (
    HandBackTrigger,
    ReportListeningEnded,
    ReportTriggerEvaluated,
    ReportTriggerEvent,
    ReportTriggerStarted,
    TriggerReport,
)
from flowtide.secrets import Mask
from flowtide.services.worker.attempt import Tools, in_thread
from flowtide.services.worker.encrypted import protected
from flowtide.services.worker.outputs import checked_outputs
from flowtide.services.worker.preparation import PreparedTask
from flowtide.services.worker.reports import described
from flowtide.services.worker.trigger_context import TriggerContext

COMMANDS: Final = "trigger_commands"
LARGEST_REPORT_BYTES: Final = 700_000  # it becomes an execution's command and event, which have a limit
_TOO_LARGE: Final = "what the trigger gave is larger than the limit of {limit} bytes; put it into a file"
_OUTCOME: Final = re.compile(r"\btrigger\s*(?:\.\s*(?!date\b)|\[|\||\))")
_PATIENCE_SECONDS: Final = 1.0  # how long a stopped evaluation may take before it is left behind


class TriggerRun:
    """One job of a trigger on this worker.  `run` once; `stop` and `hand_back` at any time, from the loop's thread."""

    def __init__(
        self,
        job: TriggerJob,
        registry: Registry,
        tools: Tools,
        *,
        worker_id: str,
        on_free: Callable[[], None],
    ) -> None:
        self.job = job
        self._registry = registry
        self._tools = tools
        self._worker_id = worker_id
        self._on_free = on_free
        self._task: asyncio.Task[None] | None = None
        self._context: TriggerContext | None = None
        self._mask = Mask()
        self._over = False  # whoever ends it early says what is to be said

    @property
    def takes_slot(self) -> bool:
        """Whether it counts among the attempts that a worker runs at a time; who listens mostly waits."""
        return isinstance(self.job, EvaluateTrigger)

    def started(self) -> Message:
        """The report that it runs from now on."""
        return self._message(
            ReportTriggerStarted(at=self._now(), job_id=self.job.job_id, worker_id=self._worker_id)
        )

    def stop(self) -> None:
        """End it without a report: nobody waits for it any more."""
        self._over = True
        if self._task is not None:
            self._task.cancel()

    def hand_back(self) -> None:
        """End it, and have another worker take it over (RTT-02)."""
        if not self._over:
            self._tools.outbox.put((handed_back(self.job, self._worker_id, self._tools),), at_once=True)
        self.stop()

    async def run(self) -> None:
        """Evaluate or listen, and report."""
        self._task = asyncio.current_task()
        try:
            if not self._over:
                await self._run()
        except asyncio.CancelledError:
            if not self._over:
                raise
        finally:
            if self.takes_slot:
                self._on_free()

    async def _run(self) -> None:
        polls = isinstance(self.job, EvaluateTrigger)
        log_file: str | None = None
        fired: dict[str, Any] = {}
        error: str | None = None
        document: dict[str, Any] = {}
        try:
            prepared = await asyncio.to_thread(self._prepared)
            document = prepared.document
            trigger: Any = prepared.task
            context = self._context = TriggerContext(
                self.job, prepared, self._variables(), self._tools, self._mask
            )
            try:
                await context.enter(asyncio.get_running_loop())
                if polls:
                    fired = await self._evaluated(trigger, context)
                else:
                    await self._listen(trigger, context)
            except Exception as failure:
                self._tell(context, failure, document)
                raise
            finally:
                with contextlib.suppress(OSError):
                    await asyncio.shield(context.leave())
                log_file = context.log_file
        except asyncio.CancelledError:
            raise
        except Exception as failure:
            if self._context is None:
                self._log_without_context(failure)
            error = self._mask.mask(described(failure, document))
        at = self._now()
        if not polls:
            end = ReportListeningEnded(at=at, job_id=self.job.job_id, worker_id=self._worker_id, error=error)
            self._put(end)
            return
        report = ReportTriggerEvaluated(
            at=at,
            job_id=self.job.job_id,
            worker_id=self._worker_id,
            fired=bool(fired) and error is None,
            variables=fired.get("variables", {}),
            inputs=fired.get("inputs", {}),
            error=error,
            log_file=log_file,
        )
        self._put(report)

    # Polling.

    async def _evaluated(self, trigger: PollingTrigger, context: TriggerContext) -> dict[str, Any]:
        """What it fires with; nothing when it does not."""
        if not await self._hold(trigger.conditions, context, {}, after=False):
            context.debug("The conditions do not hold; nothing was evaluated")
            return {}
        given = await self._called(trigger, context)
        if given is None:
            return {}
        variables = checked_outputs(given)
        if not await self._hold(trigger.conditions, context, variables, after=True):
            context.debug("The conditions do not hold for what was found")
            return {}
        fired = {"variables": variables, "inputs": await self._inputs(trigger, context, variables)}
        self._check_size(fired)
        return fired

    async def _called(self, trigger: PollingTrigger, context: TriggerContext) -> Any:
        if trigger.mode == "thread":
            work = in_thread(lambda: trigger.evaluate(context), name=f"poll-{self.job.job_id[:8]}")
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await asyncio.to_thread(context.end_early)
                await asyncio.wait({work}, timeout=_PATIENCE_SECONDS)
                raise
        try:
            given = trigger.evaluate(context)
            return await given if inspect.isawaitable(given) else given
        except asyncio.CancelledError:
            await asyncio.to_thread(context.end_early)
            raise
        except (SystemExit, KeyboardInterrupt) as error:
            raise TaskFailed(f"the trigger tried to end the worker: {type(error).__name__}") from error

    # Realtime.

    async def _listen(self, trigger: RealtimeTrigger, context: TriggerContext) -> None:
        received = 0
        try:
            async with aclosing(trigger.listen(context)) as events:  # type: ignore[type-var]  # iterators of plugins are generators
                async for some in events:
                    together = [some] if isinstance(some, TriggerEvent) else list(some)
                    messages = []
                    for event in together:
                        received += 1
                        report = await self._event(trigger, context, event, received)
                        if report is not None:
                            messages.append(self._message(report))
                    if messages:
                        # Durable before the next one is asked for, because then the source may forget these.
                        self._tools.outbox.put(messages, at_once=True)
                        await self._tools.outbox.flushed()
                    await context.drain()
        except asyncio.CancelledError:
            await asyncio.to_thread(context.end_early)
            raise
        except (SystemExit, KeyboardInterrupt) as error:
            raise TaskFailed(f"the trigger tried to end the worker: {type(error).__name__}") from error

    async def _event(
        self, trigger: RealtimeTrigger, context: TriggerContext, event: TriggerEvent, number: int
    ) -> ReportTriggerEvent | None:
        """What is reported of an event; None when the conditions do not hold for it."""
        # Without a name of its own it is another one whenever it is received.
        name = event.id or f"{self._worker_id}/{self.job.at.isoformat()}/{number}"
        error: str | None = None
        fired: dict[str, Any] = {}
        try:
            variables = checked_outputs(event.variables)
            for after in (False, True):
                if not await self._hold(trigger.conditions, context, variables, after=after):
                    context.debug("The conditions do not hold for an event")
                    return None
            fired = {"variables": variables, "inputs": await self._inputs(trigger, context, variables)}
            self._check_size(fired)
        except Exception as failure:
            self._tell(context, failure, {})
            error = self._mask.mask(described(failure, {}))
            fired = {}
        return ReportTriggerEvent(
            at=self._now(),
            job_id=self.job.job_id,
            worker_id=self._worker_id,
            event_id=name,
            variables=fired.get("variables", {}),
            inputs=fired.get("inputs", {}),
            error=error,
        )

    # Both.

    def _prepared(self) -> PreparedTask:
        """The trigger as it will run; its plugin may have to be imported first.  Raises TaskFailed."""
        document: dict[str, Any] = msgspec.json.decode(self.job.trigger)
        name = str(document.get("type"))
        found = self._registry.find("trigger", name)
        wanted = PollingTrigger if isinstance(self.job, EvaluateTrigger) else RealtimeTrigger
        if found is None or not issubclass(found, wanted):
            raise TaskFailed(
                f"this worker has no {wanted.__name__} of type `{name}`; install its plugin and restart the worker"
            )
        try:
            trigger: Any = found.model_validate(document, context=PluginContext(registry=self._registry))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(str(part) for part in problem["loc"])
            raise TaskFailed(f"the trigger is not valid on this worker: {place}: {problem['msg']}") from None
        return PreparedTask(
            task=trigger,
            document=document,
            type_name=self._registry.current_name("trigger", name),
            inline=False,
            severity=0 if trigger.log_level is None else trigger.log_level.severity,
        )

    def _variables(self) -> dict[str, Any]:
        flow = self.job.flow
        about = {
            "id": flow.id,
            "namespace": flow.namespace,
            "revision": flow.revision,
            "tenantId": self.job.tenant_id,
        }
        variables = {**self._tools.base_variables, **msgspec.json.decode(self.job.variables), "flow": about}
        if self._tools.platforms is not None:
            variables["namespace"] = self._tools.platforms.namespaces(self.job.tenant_id).variables(
                flow.namespace
            )
        return variables

    async def _hold(
        self,
        conditions: Sequence[Any],
        context: TriggerContext,
        variables: Mapping[str, Any],
        *,
        after: bool,
    ) -> bool:
        """Whether the conditions hold that look (`after`), or do not look, at what the trigger gave."""
        asked = [each for each in conditions if _looks_at_outcome(each) is after]
        if not asked:
            return True
        seen = {"trigger": {**context.variables.get("trigger", {}), **variables}}
        circumstances = Circumstances(context.renderer(), seen)

        def hold() -> bool:
            return all_hold(asked, circumstances, undecided=TaskFailed)

        return bool(await in_thread(hold, name=f"conditions-{self.job.job_id[:8]}"))

    async def _inputs(
        self, trigger: Any, context: TriggerContext, variables: dict[str, Any]
    ) -> dict[str, Any]:
        """The inputs of the execution; texts that show a secret are encrypted if there is a key (they are recorded)."""
        if not trigger.inputs:
            return {}
        render = context.renderer()
        given: dict[str, Any] = await in_thread(
            lambda: render(dict(trigger.inputs), {"trigger": variables}), name=f"inputs-{self.job.job_id[:8]}"
        )
        cipher = self._tools.cipher
        if cipher is None:
            return given
        place = f"{self.job.flow.namespace}.{self.job.flow.id}/{self.job.job_id}"
        shown: dict[str, Any] = protected(given, cipher, self._mask, self.job.tenant_id, place)
        return shown

    def _check_size(self, fired: Mapping[str, Any]) -> None:
        try:
            size = len(encode(fired))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TaskFailed(f"what the trigger gave cannot be written as JSON: {error}") from None
        if size > LARGEST_REPORT_BYTES:
            raise TaskFailed(_TOO_LARGE.format(limit=LARGEST_REPORT_BYTES))

    def _tell(self, context: TriggerContext, failure: Exception, document: Mapping[str, Any]) -> None:
        context.error("{}", described(failure, document))
        if not isinstance(failure, FlowtideError):
            context.trace("{}", "".join(traceback.format_exception(failure)))

    def _log_without_context(self, failure: Exception) -> None:
        """A trigger that cannot be read has no context; its log says so all the same."""
        prepared = PreparedTask(task=_NO_TRIGGER, document={}, type_name="", inline=False, severity=0)
        self._tell(TriggerContext(self.job, prepared, {}, self._tools, self._mask), failure, {})

    def _put(self, report: TriggerReport) -> None:
        if not self._over:
            self._tools.outbox.put((self._message(report),), at_once=True)

    def _message(self, report: TriggerReport) -> Message:
        return Message(topic=COMMANDS, key=_key(self.job), value=encode(report))

    def _now(self) -> Any:
        return self._tools.clock.now()


class _NoTrigger:
    uses_files = False
    log_to_file = False


_NO_TRIGGER: Final[Any] = _NoTrigger()


def handed_back(job: TriggerJob, worker_id: str, tools: Tools) -> Message:
    """What says that this worker does not do a job."""
    report = HandBackTrigger(at=tools.clock.now(), job_id=job.job_id, worker_id=worker_id)
    return Message(topic=COMMANDS, key=_key(job), value=encode(report))


def too_large(fields: Mapping[str, Any]) -> TriggerReport | None:
    """In place of a report that the log would not take, one that says so."""
    error = _TOO_LARGE.format(limit=LARGEST_REPORT_BYTES)
    if fields.get("type") == ReportTriggerEvaluated.__name__:
        evaluated = msgspec.convert(fields, ReportTriggerEvaluated)
        return msgspec.structs.replace(evaluated, fired=False, variables={}, inputs={}, error=error)
    if fields.get("type") == ReportTriggerEvent.__name__:
        event = msgspec.convert(fields, ReportTriggerEvent)
        return msgspec.structs.replace(event, variables={}, inputs={}, error=error)
    return None


def _looks_at_outcome(condition: Any) -> bool:
    """Whether a condition names anything of `trigger` but its date."""
    return _OUTCOME.search(condition.model_dump_json(by_alias=True)) is not None


def _key(job: TriggerJob) -> str:
    return str(TriggerKey(job.tenant_id, job.flow.namespace, job.flow.id, job.trigger_id))
