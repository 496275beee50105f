"""The metrics of schedulers, as A §13 names them."""

from __future__ import annotations

from flowtide.log.keys import TriggerKey
from flowtide.services.execution_metrics import ScheduleMetrics
from flowtide.telemetry import Metrics

KEY = TriggerKey("main", "company.team", "hello", "hourly")
PLACE = '{flow_id="hello",namespace_id="company.team",tenant_id="main"}'


def test_a_scheduler_counts_rounds_evaluations_and_firings() -> None:
    """MET-7: a date whose conditions do not hold is evaluated and fires nothing."""
    metrics = Metrics(process=False)
    seconds = iter([1.0, 1.5, 2.0, 2.25])
    watch = ScheduleMetrics(metrics, "trigger_commands", seconds=lambda: next(seconds))
    for fired in (True, False):
        watch.begins(KEY)
        watch.ends(KEY, fired=fired)
    watch.batch(0, 0.125)
    shown = metrics.expose().decode().splitlines()
    for line in (
        f"kestra_scheduler_evaluate_count_total{PLACE} 2.0",
        f"kestra_scheduler_trigger_count_total{PLACE} 1.0",
        f"kestra_scheduler_evaluate_duration_seconds_sum{PLACE} 0.75",
        "kestra_scheduler_loop_count_total 1.0",
        "kestra_scheduler_evaluation_loop_duration_seconds_sum 0.125",
        "kestra_scheduler_evaluate_running_count 0.0",
    ):
        assert line in shown
