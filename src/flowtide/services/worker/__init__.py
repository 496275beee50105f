"""The worker service: takes jobs from the log, runs tasks, reports.  `Worker` is what a server wires."""

from flowtide.services.worker.settings import Clock, SystemClock, WorkerSettings
from flowtide.services.worker.worker import Worker

__all__ = ["Clock", "SystemClock", "Worker", "WorkerSettings"]
