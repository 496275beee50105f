"""The management port of a process: health, metrics and diagnosis in a second HTTP server (MGMT-1 to MGMT-7).

In come requests of probes, scrapers and operators; out go shapes that Kestra's tools know.  State: what the
process has started, in `Watched`, and the lag as it was last asked for.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import shutil
import sys
import threading
import time
import traceback
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import hdrs, web

from flowtide import __version__
from flowtide.errors import FlowtideError
from flowtide.index.kinds import KINDS
from flowtide.index.port import Index
from flowtide.log.port import Log
from flowtide.model.services import ServiceType
from flowtide.processors.triggers import TriggersPartition
from flowtide.services.watched import Watched
from flowtide.settings import QueueType, RepositoryType
from flowtide.telemetry.logs import OFF, TRACE, logger_name, set_level
from flowtide.telemetry.metrics import Counter, Gauge, Timer

NAME = "kestra"  # what the tools that read these endpoints look for
DISK_THRESHOLD_BYTES = 10_485_760

_CHECK_SECONDS = 3.0  # the longest that a look at Kafka or Elasticsearch takes
_LAG_SECONDS = 2.0  # a lag younger than this is not asked for again
_PROBES = frozenset({"/health/liveness", "/health/readiness"})  # what kubelet asks, without a login
_LEVELS = ("ALL", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF", "NOT_SPECIFIED")

logger = structlog.get_logger(__name__)


class Management:
    """Serves the endpoints on `endpoints.all.port`; 0 takes a free port, see `port` after the start."""

    def __init__(self, watched: Watched, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._watched = watched
        self._monotonic = monotonic
        self._runner: web.AppRunner | None = None
        self._lags: dict[str, Mapping[Any, int]] = {}  # group -> partition -> records not consumed
        self._lags_at = -_LAG_SECONDS
        self._lagging: asyncio.Task[None] | None = None
        self._shown_traffic: dict[tuple[str, str], int] = {}  # metric and topic -> messages counted so far

    @property
    def port(self) -> int:
        """The port that is listened on; the configured one before the start."""
        if self._runner is not None:
            for address in self._runner.addresses:
                number: int = address[1]
                return number
        return self._watched.settings.management.port

    async def start(self) -> None:
        """Begin to listen.  Raises OSError when the address cannot be had."""
        settings = self._watched.settings.management
        runner = web.AppRunner(self.application(), handle_signals=False, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner

    async def stop(self) -> None:
        """Stop listening.  A second call does nothing."""
        runner, self._runner = self._runner, None
        if self._lagging is not None:
            self._lagging.cancel()
        if runner is not None:
            await runner.cleanup()

    def application(self) -> web.Application:
        """The endpoints that are switched on (MGMT-7)."""
        app = web.Application(middlewares=[self._guard])
        settings = self._watched.settings.management
        for endpoint, method, path, handler in self._table():
            if settings.serves(endpoint):
                app.router.add_route(method, path, handler)
        return app

    def _table(self) -> Sequence[tuple[str, str, str, Callable[[web.Request], Awaitable[web.Response]]]]:
        always = (
            ("health", "GET", "/health", self._health),
            ("health", "GET", "/health/liveness", self._liveness),
            ("health", "GET", "/health/readiness", self._readiness),
            ("prometheus", "GET", "/prometheus", self._prometheus),
            ("metrics", "GET", "/metrics", self._metric_names),
            ("metrics", "GET", "/metrics/{name}", self._metric),
            ("info", "GET", "/info", self._info),
            ("loggers", "GET", "/loggers", self._loggers),
            ("loggers", "GET", "/loggers/{name}", self._logger),
            ("loggers", "POST", "/loggers/{name}", self._set_logger),
            ("env", "GET", "/env", self._env),
            ("threaddump", "GET", "/threaddump", self._threads),
            ("kafkastreams", "GET", "/kafkastreams", self._streams),
            ("kafkastreams", "GET", "/kafkastreams/{group}/lag", self._stream_lag),
        )
        special = {
            ServiceType.WORKER: ("worker", "GET", "/worker", self._worker),
            ServiceType.SCHEDULER: ("scheduler", "GET", "/scheduler", self._scheduler),
        }
        return (*always, *(row for service, row in special.items() if service in self._watched.services))

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Ask for the login where one is configured, and answer mistakes in one shape."""
        settings = self._watched.settings.management
        try:
            if settings.password and request.path not in _PROBES and not _is_login(request, settings):
                return _json(
                    {"message": "a user name and a password are needed"},
                    status=401,
                    headers={hdrs.WWW_AUTHENTICATE: 'Basic realm="Flowtide management"'},
                )
            return await handler(request)
        except web.HTTPException as error:
            return _json({"message": error.reason}, status=error.status)
        except Exception:
            logger.exception("an endpoint of the management port failed", path=request.path)
            return _json({"message": "the endpoint failed; the server's log tells why"}, status=500)

    # Health.

    async def _liveness(self, request: web.Request) -> web.Response:
        """The event loop answers: nothing outside this process matters (MGMT-3)."""
        return _json({"name": NAME, "status": "UP"})

    async def _readiness(self, request: web.Request) -> web.Response:
        watched = self._watched
        worker = watched.worker
        up = watched.is_ready() and (worker is None or worker.is_consuming)
        return _status(up, {"service": _detail("service", up)})

    async def _health(self, request: web.Request) -> web.Response:
        watched = self._watched
        details: dict[str, Any] = {"compositeDiscoveryClient()": _detail("composite", True, {"services": {}})}
        checks = {}
        if watched.log is not None:
            kafka = watched.settings.queue.type is QueueType.KAFKA
            checks["kafka" if kafka else "embeddedLog"] = _log_answers(watched.log)
        if watched.index is not None:
            elastic = watched.settings.repository.type is RepositoryType.ELASTICSEARCH
            checks["elasticsearch" if elastic else "embeddedIndex"] = _index_answers(watched.index)
        problems = await asyncio.gather(*(_within(check) for check in checks.values()))
        for name, problem in zip(checks, problems, strict=True):
            details[name] = _detail(name, problem is None, {} if problem is None else {"error": problem})
        details["service"] = _detail("service", watched.is_ready())
        details["diskSpace"] = await asyncio.to_thread(_disk, watched.settings.data_path)
        return _status(all(each["status"] == "UP" for each in details.values()), details)

    # Metrics.

    async def _prometheus(self, request: web.Request) -> web.Response:
        await self._refresh_lags()
        self._count_traffic()
        return web.Response(
            body=self._watched.metrics.expose(),
            headers={hdrs.CONTENT_TYPE: "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _metric_names(self, request: web.Request) -> web.Response:
        names = {metric.name for metric, _, _, children in self._watched.metrics.families() if children}
        return _json({"names": sorted(names)})

    async def _metric(self, request: web.Request) -> web.Response:
        await self._refresh_lags()
        self._count_traffic()
        wanted = request.match_info["name"]
        for metric, _, labels, children in self._watched.metrics.families():
            if metric.name == wanted and children:
                tags = [
                    {"tag": label, "values": sorted({values[place] for values in children})}
                    for place, label in enumerate(labels)
                ]
                measured = _measurements(list(children.values()))
                return _json({"name": wanted, "measurements": measured, "availableTags": tags})
        return _json({"message": f"there is no metric {wanted[:100]}"}, status=404)

    async def _refresh_lags(self) -> None:
        """Bring the gauges of the lag up to date, unless they are young; a log that is away leaves them."""
        if self._watched.log is None or self._monotonic() - self._lags_at < _LAG_SECONDS:
            return
        if self._lagging is None or self._lagging.done():
            self._lagging = asyncio.create_task(self._ask_lags(self._watched.log), name="lag")
        await asyncio.wait({self._lagging}, timeout=_CHECK_SECONDS)

    def _count_traffic(self) -> None:
        """Bring the counters of written and refused messages up to date."""
        if self._watched.log is None:
            return
        traffic = self._watched.log.traffic
        for name, counts in (
            ("queue.produce.count", traffic.produced),
            ("queue.big.message.count", traffic.refused),
        ):
            for topic, count in list(counts.items()):
                shown = self._shown_traffic.get((name, topic), 0)
                if count > shown:
                    self._watched.metrics.counter(name, topic).add(count - shown)
                    self._shown_traffic[name, topic] = count

    async def _ask_lags(self, log: Log) -> None:
        metrics = self._watched.metrics
        for stream in list(self._watched.streams):
            try:
                lags = await log.lag(stream.group, stream.topics)
            except FlowtideError as error:
                logger.debug("the lag is not known", group=stream.group, reason=str(error))
                return
            self._lags[stream.group] = lags
            for topic in stream.topics:
                behind = sum(lag for partition, lag in lags.items() if partition.topic == topic)
                metrics.gauge("queue.message.lag.count", topic).set(behind)
        self._lags_at = self._monotonic()

    # Diagnosis.

    async def _info(self, request: web.Request) -> web.Response:
        return _json(
            {
                "name": "flowtide",
                "version": __version__,
                "python": sys.version.split()[0],
                "pid": os.getpid(),
                "services": sorted(self._watched.services),
            }
        )

    async def _env(self, request: web.Request) -> web.Response:
        settings = self._watched.settings
        sources = [{"name": "flowtide", "order": 0, "properties": settings.properties()}]
        return _json({"activeEnvironments": [], "packages": ["flowtide"], "propertySources": sources})

    async def _loggers(self, request: web.Request) -> web.Response:
        known = [
            name
            for name, found in list(logging.root.manager.loggerDict.items())
            if isinstance(found, logging.Logger)
        ]
        shown = {name: _levels(name) for name in sorted(known)}
        return _json({"levels": list(_LEVELS), "loggers": {"ROOT": _levels("root"), **shown}})

    async def _logger(self, request: web.Request) -> web.Response:
        return _json(_levels(request.match_info["name"]))

    async def _set_logger(self, request: web.Request) -> web.Response:
        """Change a level until the process ends (MGMT-6); null or NOT_SPECIFIED takes it back."""
        name = request.match_info["name"]
        try:
            body = msgspec.json.decode(await request.read())
            level = body.get("configuredLevel") if isinstance(body, dict) else body
            if not isinstance(body, dict) or not (level is None or isinstance(level, str)):
                raise ValueError('the body must be like {"configuredLevel": "DEBUG"}')
            set_level(name, None if level in (None, "NOT_SPECIFIED") else level)
        except (msgspec.DecodeError, UnicodeDecodeError):
            message = 'the body is no JSON; send one like {"configuredLevel": "DEBUG"}'
            return _json({"message": message}, status=400)
        except ValueError as error:
            return _json({"message": str(error)}, status=400)
        logger.info("the level of a logger was changed", name=logger_name(name), level=level)
        return web.Response(status=200)

    async def _threads(self, request: web.Request) -> web.Response:
        """Where every thread and every task of the event loop is right now."""
        names = {thread.ident: thread for thread in threading.enumerate()}
        threads = []
        for number, frame in sys._current_frames().items():  # noqa: SLF001  # documented, and the only way
            thread = names.get(number)
            threads.append(
                {
                    "threadName": thread.name if thread is not None else "unknown",
                    "threadId": number,
                    "daemon": thread.daemon if thread is not None else True,
                    "stackTrace": [_frame(each) for each in reversed(traceback.extract_stack(frame))],
                }
            )
        tasks = [
            {
                "taskName": task.get_name(),
                "stackTrace": [
                    {"fileName": each.f_code.co_filename, "methodName": each.f_code.co_qualname}
                    if sys.version_info >= (3, 11)
                    else {}
                    for each in task.get_stack(limit=20)
                ],
            }
            for task in asyncio.all_tasks()
        ]
        return _json({"threads": threads, "tasks": tasks})

    async def _worker(self, request: web.Request) -> web.Response:
        worker = self._watched.worker
        running = [] if worker is None else worker.jobs
        return _json(
            {
                "runningCount": 0 if worker is None else worker.running,
                "pendingCount": 0 if worker is None else worker.pending,
                "runnings": [
                    {
                        "taskRun": {
                            "id": job.run_id,
                            "tenantId": job.tenant_id,
                            "executionId": job.execution_id,
                            "namespace": job.flow.namespace,
                            "flowId": job.flow.id,
                            "taskId": job.task_id,
                            "value": job.value,
                            "attempt": job.attempt,
                            "submitted": job.at,
                        }
                    }
                    for job in running
                ],
            }
        )

    async def _scheduler(self, request: web.Request) -> web.Response:
        """The schedules of this scheduler's partitions with their next dates, the earliest first."""
        runtime = self._watched.triggers
        found = []
        for partition in () if runtime is None else list(runtime.owned.values()):
            assert isinstance(partition, TriggersPartition)
            found.extend(partition.scheduled())
        found.sort(key=lambda each: each[1])
        return _json(
            {
                "schedulableCount": len(found),
                "schedulable": [
                    {
                        "tenantId": key.tenant,
                        "namespace": key.namespace,
                        "flowId": key.flow_id,
                        "triggerId": key.trigger_id,
                        "next": date,
                    }
                    for key, date in found
                ],
            }
        )

    async def _streams(self, request: web.Request) -> web.Response:
        """Each consumer group of this process: what it owns, and how much it has not consumed yet."""
        await self._refresh_lags()
        shown = []
        for stream in self._watched.streams:
            lags = self._lags.get(stream.group)
            one: dict[str, Any] = {
                "clientId": stream.group,
                "topics": list(stream.topics),
                "state": "RUNNING" if self._watched.is_ready() else "CREATED",
                "lag": None if lags is None else sum(lags.values()),
            }
            if stream.runtime is not None:
                one["partitions"] = sorted(stream.runtime.owned)
            shown.append(one)
        return _json(shown)

    async def _stream_lag(self, request: web.Request) -> web.Response:
        """The lag of one group by partition."""
        await self._refresh_lags()
        group = request.match_info["group"]
        if all(stream.group != group for stream in self._watched.streams):
            return _json({"message": f"this server has no group {group[:100]}"}, status=404)
        lags = self._lags.get(group, {})
        return _json(
            [
                {"topic": partition.topic, "partition": partition.number, "lag": lag}
                for partition, lag in sorted(lags.items())
            ]
        )


def _json(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json", headers=headers
    )


def _status(up: bool, details: Mapping[str, Any]) -> web.Response:
    body = {"name": NAME, "status": "UP" if up else "DOWN", "details": details}
    return _json(body, status=200 if up else 503)


def _detail(name: str, up: bool, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": name, "status": "UP" if up else "DOWN"}
    if details:
        shown["details"] = details
    return shown


def _disk(folder: Path) -> dict[str, Any]:
    """The space of the disk that the data is on; of the nearest folder that exists."""
    place = folder.expanduser().absolute()
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    details = {"total": usage.total, "free": usage.free, "threshold": DISK_THRESHOLD_BYTES}
    return _detail("diskSpace", usage.free >= DISK_THRESHOLD_BYTES, details)


async def _log_answers(log: Log) -> None:
    await log.end_offsets("services")


async def _index_answers(index: Index) -> None:
    await index.get(next(iter(KINDS)), "main", "health")


async def _within(check: Awaitable[None]) -> str | None:
    """What is wrong, None when nothing is."""
    try:
        await asyncio.wait_for(check, _CHECK_SECONDS)
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:g} s"
    except FlowtideError as error:
        return error.message
    return None


def _measurements(children: Sequence[Counter | Gauge | Timer]) -> list[dict[str, Any]]:
    first = children[0]
    if isinstance(first, Timer):
        timers = [each for each in children if isinstance(each, Timer)]
        return [
            {"statistic": "COUNT", "value": sum(each.count for each in timers)},
            {"statistic": "TOTAL_TIME", "value": sum(each.sum_seconds for each in timers)},
            {"statistic": "MAX", "value": max(each.maximum() for each in timers)},
        ]
    if isinstance(first, Counter):
        total = sum(each.value for each in children if isinstance(each, Counter))
        return [{"statistic": "COUNT", "value": total}]
    now = sum(each.read() for each in children if isinstance(each, Gauge))
    return [{"statistic": "VALUE", "value": now}]


def _levels(name: str) -> dict[str, str]:
    found = logging.getLogger(logger_name(name))
    configured = "NOT_SPECIFIED" if found.level == logging.NOTSET else _level_name(found.level)
    return {"configuredLevel": configured, "effectiveLevel": _level_name(found.getEffectiveLevel())}


def _level_name(number: int) -> str:
    if number >= OFF:
        return "OFF"
    if number >= logging.ERROR:
        return "ERROR"
    for level, name in ((logging.WARNING, "WARN"), (logging.INFO, "INFO"), (logging.DEBUG, "DEBUG")):
        if number >= level:
            return name
    return "TRACE" if number >= TRACE else "ALL"


def _frame(frame: traceback.FrameSummary) -> dict[str, Any]:
    return {"fileName": frame.filename, "methodName": frame.name, "lineNumber": frame.lineno}


def _is_login(request: web.Request, settings: Any) -> bool:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = b64decode(token.strip(), validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(given, f"{settings.username or ''}:{settings.password}".encode())
