"""Prometheus metrics: one table of names and labels (A §13, a contract), and the registry that makes them.

Observations come in from services by the logical name, samples go out in the text format; the state is the
numbers.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

#: What a configured label says for an execution that lacks it (MET-2).
NO_LABEL = "__none__"

#: How long the maximum of a timer is remembered, in seconds; then it starts anew.
MAXIMUM_WINDOW_SECONDS = 120.0


class MetricKind(StrEnum):
    """What a metric is, and so how its name ends: counters in `_total`, timers in `_seconds`."""

    COUNTER = "counter"
    GAUGE = "gauge"
    TIMER = "timer"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row of the table: the logical name, its kind, its labels and what it counts.

    `per_execution` metrics also carry a label for each name in `metrics.labels`. `prefixed` ones start with
    `metrics.prefix`; the others have names that frameworks share.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    per_execution: bool = False
    prefixed: bool = True


_EXECUTION = ("tenant_id", "namespace_id", "flow_id")
_TASK = (*_EXECUTION, "task_type")
_STATED = (*_EXECUTION, "state")


def _counter(name: str, help_: str, labels: tuple[str, ...] = (), *, per_execution: bool = False) -> Metric:
    return Metric(name=name, kind=MetricKind.COUNTER, help=help_, labels=labels, per_execution=per_execution)


def _timer(
    name: str,
    help_: str,
    labels: tuple[str, ...] = (),
    *,
    per_execution: bool = False,
    prefixed: bool = True,
) -> Metric:
    return Metric(
        name=name,
        kind=MetricKind.TIMER,
        help=help_,
        labels=labels,
        per_execution=per_execution,
        prefixed=prefixed,
    )


def _gauge(name: str, help_: str, labels: tuple[str, ...] = (), *, prefixed: bool = True) -> Metric:
    return Metric(name=name, kind=MetricKind.GAUGE, help=help_, labels=labels, prefixed=prefixed)


#: Every metric that a service may report. A name that is not here is a mistake and raises KeyError.
METRICS: tuple[Metric, ...] = (
    # executions as a whole: MET-1
    _counter("executions", "Executions that ended, by state", _STATED, per_execution=True),
    # executor, see MET-4 and MET-5
    _counter("executor.execution.started.count", "Executions that started", _EXECUTION, per_execution=True),
    _counter("executor.execution.end.count", "Executions that ended", _STATED, per_execution=True),
    _timer("executor.execution.duration", "From start to end of executions", _STATED, per_execution=True),
    _counter("executor.execution.delay.created.count", "Delays that were set", _EXECUTION),
    _timer("executor.execution.message.process", "Handling of one batch of records", ("topic",)),
    _counter("executor.execution.queued.count", "Executions that waited for a slot", _EXECUTION),
    _counter("executor.execution.popped.count", "Executions that left the queue of their flow", _EXECUTION),
    _counter("executor.flowable.execution.count", "Flowable tasks that were evaluated", _TASK),
    _counter("executor.taskrun.created.count", "Task runs that were created", _TASK, per_execution=True),
    _counter("executor.taskrun.next.count", "Task runs that were found to follow", _TASK, per_execution=True),
    _counter("executor.taskrun.ended.count", "Task runs that ended", (*_TASK, "state"), per_execution=True),
    _timer(
        "executor.taskrun.ended.duration",
        "From creation to end of task runs",
        (*_TASK, "state"),
        per_execution=True,
    ),
    _counter("executor.workertaskresult.count", "Results that workers reported", (*_TASK, "state")),
    _counter("executor.worker.job.resubmit.count", "Jobs of dead workers handed out again"),
    _gauge("executor.thread.count", "Partitions of executions that this executor owns"),
    _counter("executor.dead.letter.count", "Records that could not be handled", ("topic",)),
    # indexer, see MET-6
    _counter("indexer.message.in.count", "Records received", ("type",)),
    _counter("indexer.message.out.count", "Documents written", ("type",)),
    _counter("indexer.request.count", "Batches written", ("type",)),
    _timer("indexer.request.duration", "Writing of one batch", ("type",)),
    # scheduler, see MET-7
    _counter("scheduler.loop.count", "Rounds of the scheduler"),
    _counter("scheduler.evaluate.count", "Triggers that were evaluated", _EXECUTION),
    _counter("scheduler.trigger.count", "Triggers that fired", _EXECUTION),
    _gauge("scheduler.evaluate.running.count", "Evaluations that run on workers"),
    _timer("scheduler.evaluate.duration", "Evaluation of one trigger", _EXECUTION),
    _timer("scheduler.evaluation.loop.duration", "One round of the scheduler"),
    # worker, see MET-8 and MET-9
    _gauge("worker.job.pending", "Jobs, of tasks and triggers, that wait for a thread", ("worker_group",)),
    _gauge("worker.job.running", "Jobs, of tasks and triggers, that run", ("worker_group",)),
    _gauge("worker.job.thread", "Jobs that can run at the same time", ("worker_group",)),
    _gauge("worker.running.count", "Task runs that run", ("worker_group",)),
    _counter("worker.started.count", "Task runs that started", _TASK),
    _counter("worker.ended.count", "Task runs that ended", (*_TASK, "state")),
    _counter("worker.retried.count", "Task runs that were tried again", _TASK),
    _timer("worker.ended.duration", "From start to end of task runs", (*_TASK, "state")),
    _timer("worker.queued.duration", "From handing out to start of task runs", _TASK),
    # the log, see MET-10
    _counter("queue.produce.count", "Records sent", ("queue_name",)),
    _counter("queue.big.message.count", "Records refused for their size", ("queue_name",)),
    _timer("queue.receive.duration", "Handling of received records", ("queue_name",)),
    _gauge("queue.message.lag.count", "Records not consumed yet", ("queue_name",)),
    _gauge("queue.poll.size", "Records of the last poll", ("queue_name",)),
    # HTTP and the log of the server (MET-12)
    _timer("http.server.requests", "Requests answered", ("method", "status", "uri"), prefixed=False),
    _timer("http.client.requests", "Requests made", ("method", "status", "host"), prefixed=False),
    Metric(
        name="logback.events",
        kind=MetricKind.COUNTER,
        help="Lines of the server's log",
        labels=("level",),
        prefixed=False,
    ),
    _gauge("cache.size", "Entries of a cache", ("cache",), prefixed=False),
)


class Counter:
    """A number that grows, for one set of label values."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1.0) -> None:
        """Count `amount` more."""
        self.value += amount


class Gauge:
    """A number that goes up and down, for one set of label values; or one that is asked for when it is
    read.
    """

    __slots__ = ("function", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.function: Callable[[], float] | None = None

    def set(self, value: float) -> None:
        """The number is now `value`."""
        self.value = value

    def add(self, amount: float = 1.0) -> None:
        """The number is `amount` more, or less."""
        self.value += amount

    def read_from(self, function: Callable[[], float]) -> None:
        """Ask `function` for the number whenever the metrics are read; it must be quick."""
        self.function = function

    def read(self) -> float:
        """The number now."""
        return self.value if self.function is None else float(self.function())


class Timer:
    """How many, how long in all and the longest of late, for one set of label values."""

    __slots__ = ("_clock", "_maximum", "_maximum_before", "_window_end", "count", "sum_seconds")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.count = 0
        self.sum_seconds = 0.0
        self._maximum = 0.0
        self._maximum_before = 0.0
        self._window_end = clock() + MAXIMUM_WINDOW_SECONDS / 2

    def observe(self, seconds: float) -> None:
        """One more that took `seconds`."""
        self.count += 1
        self.sum_seconds += seconds
        if seconds > self._maximum or self._clock() >= self._window_end:
            self._turn()
            self._maximum = max(self._maximum, seconds)

    def maximum(self) -> float:
        """The longest of the last one to two minutes, in seconds."""
        self._turn()
        return max(self._maximum, self._maximum_before)

    def _turn(self) -> None:
        now = self._clock()
        if now >= self._window_end:
            half = MAXIMUM_WINDOW_SECONDS / 2
            self._maximum_before = self._maximum if now < self._window_end + half else 0.0
            self._maximum = 0.0
            self._window_end = now + half


class _Family:
    """A metric with its children by label values."""

    __slots__ = ("children", "exposed", "labels", "metric")

    def __init__(self, metric: Metric, exposed: str, labels: tuple[str, ...]) -> None:
        self.metric = metric
        self.exposed = exposed
        self.labels = labels
        self.children: dict[tuple[str, ...], Counter | Gauge | Timer] = {}


class Metrics:
    """All metrics of one process, made once at the start and handed over.

    Hot paths keep the child: `ended = metrics.counter("worker.ended.count", tenant, namespace, flow, type,
    state)` and then `ended.add()`; looking it up again costs one dictionary access. Label values come in
    the order of the table; for metrics that are `per_execution` the execution's labels may follow as a map.
    Not locked: to be used from the event loop; a thread that reports may at worst lose one count.
    """

    def __init__(
        self,
        *,
        prefix: str = "kestra",
        labels: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
        process: bool = True,
    ) -> None:
        self._clock = clock
        self._execution_labels = labels
        self._families: dict[str, _Family] = {}
        for metric in METRICS:
            stem = metric.name.replace(".", "_").replace("-", "_")
            exposed = f"{prefix}_{stem}" if metric.prefixed and prefix else stem
            names = metric.labels
            if metric.per_execution:
                names = (*names, *(f"label_{label_name(label)}" for label in labels))
            self._families[metric.name] = _Family(metric, exposed, names)
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(_Collected(self))
        if process:
            self.registry.register(ProcessCollector())

    def counter(self, name: str, *values: str, labels: Mapping[str, str] | None = None) -> Counter:
        """The counter of that name for these label values. Raises KeyError for a name that is not in the
        table.
        """
        family = self._families[name]
        child = family.children.get(values) if labels is None and not self._execution_labels else None
        if child is None:
            child = self._child(family, MetricKind.COUNTER, values, labels)
        assert isinstance(child, Counter)
        return child

    def gauge(self, name: str, *values: str) -> Gauge:
        """The gauge of that name for these label values. Raises KeyError for a name that is not in the
        table.
        """
        family = self._families[name]
        child = family.children.get(values) or self._child(family, MetricKind.GAUGE, values, None)
        assert isinstance(child, Gauge)
        return child

    def timer(self, name: str, *values: str, labels: Mapping[str, str] | None = None) -> Timer:
        """The timer of that name for these label values. Raises KeyError for a name that is not in the
        table.
        """
        family = self._families[name]
        child = family.children.get(values) if labels is None and not self._execution_labels else None
        if child is None:
            child = self._child(family, MetricKind.TIMER, values, labels)
        assert isinstance(child, Timer)
        return child

    def _child(
        self, family: _Family, kind: MetricKind, values: tuple[str, ...], labels: Mapping[str, str] | None
    ) -> Counter | Gauge | Timer:
        metric = family.metric
        if metric.kind is not kind:
            raise KeyError(f"{metric.name} is a {metric.kind}, not a {kind}")
        if len(values) != len(metric.labels):
            raise ValueError(
                f"{metric.name} takes the labels {', '.join(metric.labels) or 'none'}, got {values}"
            )
        if metric.per_execution:
            given = labels or {}
            values = (*values, *(given.get(label, NO_LABEL) for label in self._execution_labels))
        child = family.children.get(values)
        if child is None:
            child = (
                Timer(self._clock)
                if kind is MetricKind.TIMER
                else Gauge()
                if kind is MetricKind.GAUGE
                else Counter()
            )
            family.children[values] = child
        return child

    def families(
        self,
    ) -> Iterator[tuple[Metric, str, tuple[str, ...], Mapping[tuple[str, ...], Counter | Gauge | Timer]]]:
        """Each metric with its exposed name, its label names and its children by label values."""
        for family in self._families.values():
            yield family.metric, family.exposed, family.labels, dict(family.children)

    def expose(self) -> bytes:
        """All metrics in Prometheus' text format, for `/prometheus` (`text/plain; version=0.0.4`)."""
        return generate_latest(self.registry)

    def names(self) -> list[str]:
        """The exposed names, for `/metrics`."""
        return sorted({family.name for family in self.registry.collect()})


def label_name(label: str) -> str:
    """A label of executions as part of a Prometheus label name."""
    return "".join(character if character.isascii() and character.isalnum() else "_" for character in label)


class _Collected(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily | SummaryMetricFamily]:
        for metric, exposed, labels, children in self._metrics.families():
            if metric.kind is MetricKind.COUNTER:
                counter = CounterMetricFamily(exposed, metric.help, labels=labels)
                for values, child in children.items():
                    assert isinstance(child, Counter)
                    counter.add_metric(values, child.value)
                yield counter
            elif metric.kind is MetricKind.GAUGE:
                gauge = GaugeMetricFamily(exposed, metric.help, labels=labels)
                for values, child in children.items():
                    assert isinstance(child, Gauge)
                    gauge.add_metric(values, child.read())
                yield gauge
            else:
                summary = SummaryMetricFamily(f"{exposed}_seconds", metric.help, labels=labels)
                longest = GaugeMetricFamily(
                    f"{exposed}_seconds_max", f"{metric.help}: the longest of late", labels=labels
                )
                for values, child in children.items():
                    assert isinstance(child, Timer)
                    summary.add_metric(values, child.count, child.sum_seconds)
                    longest.add_metric(values, child.maximum())
                yield summary
                yield longest


class ProcessCollector(Collector):
    """What the process and the machine do (MET-13), read when asked."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()
        psutil.cpu_percent()

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """The samples now."""
        process = self._process
        cpu, started = process.cpu_times(), process.create_time()
        cores = psutil.cpu_count() or 1
        yield CounterMetricFamily(
            "process_cpu_time_ns", "Processor time used", value=(cpu.user + cpu.system) * 1e9
        )
        readings: dict[str, tuple[str, float]] = {
            "process_cpu_usage": ("Share of all cores", process.cpu_percent() / 100 / cores),
            "process_resident_memory_bytes": ("Memory in use", process.memory_info().rss),
            "process_files_open_files": (
                "Open files",
                process.num_fds() if hasattr(process, "num_fds") else math.nan,
            ),
            "process_files_max_files": ("Files that may be open", _open_files_limit()),
            "process_start_time_seconds": ("When the process started", started),
            "process_uptime_seconds": ("How long the process runs", time.time() - started),
            "process_threads": ("Threads", process.num_threads()),
            "system_cpu_count": ("Cores", cores),
            "system_cpu_usage": ("Share of all cores that the machine uses", psutil.cpu_percent() / 100),
            "system_load_average_1m": (
                "Load of the last minute",
                os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan,
            ),
        }
        for name, (help_, value) in readings.items():
            yield GaugeMetricFamily(name, help_, value=value)


def _open_files_limit() -> float:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return math.nan
    return float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
