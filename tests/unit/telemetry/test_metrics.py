"""Metrics: the table's names as Prometheus shows them, and what counting costs."""

from __future__ import annotations

import pytest

from flowtide.telemetry import METRICS, MetricKind, Metrics

FLOW = ("main", "company.team", "my-flow")


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def exposed(metrics: Metrics) -> list[str]:
    """The lines of the text format without comments."""
    return [line for line in metrics.expose().decode().splitlines() if not line.startswith("#")]


def test_counter_carries_configured_labels() -> None:
    """The series of A §13 (MET-1, MET-2): prefix, `_total`, and configured labels that are always there."""
    metrics = Metrics(labels=("country", "my-env"), process=False)
    metrics.counter("executions", *FLOW, "SUCCESS", labels={"country": "Germany", "other": "x"}).add()
    assert exposed(metrics) == [
        (
            'kestra_executions_total{flow_id="my-flow",label_country="Germany",label_my_env="__none__",'
            'namespace_id="company.team",state="SUCCESS",tenant_id="main"} 1.0'
        )
    ]


def test_timer_is_a_summary_and_a_maximum() -> None:
    """A timer shows `_count`, `_sum` and `_max` in seconds; the maximum is forgotten after two minutes."""
    clock = Clock()
    metrics = Metrics(prefix="flowtide", clock=clock, process=False)
    timer = metrics.timer("indexer.request.duration", "executions")
    timer.observe(0.5)
    timer.observe(0.25)
    assert exposed(metrics) == [
        'flowtide_indexer_request_duration_seconds_count{type="executions"} 2.0',
        'flowtide_indexer_request_duration_seconds_sum{type="executions"} 0.75',
        'flowtide_indexer_request_duration_seconds_max{type="executions"} 0.5',
    ]
    clock.now = 61.0
    timer.observe(0.1)
    assert timer.maximum() == 0.5
    clock.now = 125.0
    assert timer.maximum() == 0.1
    clock.now = 500.0
    assert timer.maximum() == 0.0


def test_gauges_are_set_or_asked() -> None:
    """A gauge holds a number, or asks for it when it is read."""
    metrics = Metrics(process=False)
    metrics.gauge("worker.job.thread", "default").set(16)
    metrics.gauge("worker.job.running", "default").read_from(lambda: 3)
    assert sorted(exposed(metrics)) == [
        'kestra_worker_job_running{worker_group="default"} 3.0',
        'kestra_worker_job_thread{worker_group="default"} 16.0',
    ]


def test_children_are_kept() -> None:
    """Asking twice gives the same child, so a hot path may hold on to it."""
    metrics = Metrics(process=False)
    assert metrics.counter("worker.started.count", *FLOW, "t") is metrics.counter(
        "worker.started.count", *FLOW, "t"
    )
    assert metrics.timer("scheduler.evaluate.duration", *FLOW) is metrics.timer(
        "scheduler.evaluate.duration", *FLOW
    )


def test_mistakes_raise() -> None:
    """A name that is not in the table, the wrong kind and missing labels are mistakes of ours and raise."""
    metrics = Metrics(process=False)
    with pytest.raises(KeyError):
        metrics.counter("no.such")
    with pytest.raises(KeyError, match="is a counter, not a timer"):
        metrics.timer("executions", *FLOW, "SUCCESS")
    with pytest.raises(ValueError, match="takes the labels tenant_id, namespace_id, flow_id, state"):
        metrics.counter("executions", "main")


def test_contract_names() -> None:
    """The exported names of the contract (MET-4 to MET-10) are all in the table."""
    shown = {
        f"kestra_{metric.name.replace('.', '_')}"
        + {MetricKind.COUNTER: "_total", MetricKind.TIMER: "_seconds", MetricKind.GAUGE: ""}[metric.kind]
        for metric in METRICS
    }
    wanted = """
        executor_execution_delay_created_count_total executor_execution_duration_seconds
        executor_execution_end_count_total executor_execution_message_process_seconds
        executor_execution_started_count_total executor_flowable_execution_count_total
        executor_taskrun_created_count_total executor_taskrun_ended_count_total
        executor_taskrun_ended_duration_seconds executor_thread_count
        executor_worker_job_resubmit_count_total executor_taskrun_next_count_total
        executor_workertaskresult_count_total executor_execution_popped_count_total
        executor_execution_queued_count_total indexer_message_in_count_total
        indexer_message_out_count_total indexer_request_count_total indexer_request_duration_seconds
        scheduler_evaluate_count_total scheduler_evaluation_loop_duration_seconds scheduler_loop_count_total
        worker_ended_count_total worker_ended_duration_seconds worker_job_pending worker_job_running
        worker_job_thread worker_queued_duration_seconds worker_running_count worker_started_count_total
        worker_retried_count_total queue_big_message_count_total queue_message_lag_count queue_poll_size
        queue_produce_count_total queue_receive_duration_seconds
    """
    assert {f"kestra_{name}" for name in wanted.split()} <= shown


@pytest.mark.blocking
def test_process_metrics() -> None:
    """Process and system are told under the names of MET-13 (reading them opens files of the system)."""
    names = {line.split(" ")[0] for line in exposed(Metrics())}
    assert {
        "process_cpu_time_ns_total",
        "process_cpu_usage",
        "process_files_max_files",
        "process_files_open_files",
        "process_start_time_seconds",
        "process_uptime_seconds",
        "system_cpu_count",
        "system_cpu_usage",
        "system_load_average_1m",
    } <= names
