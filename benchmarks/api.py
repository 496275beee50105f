"""How fast the API answers while it holds a past of 100,000 executions; a function for each table of the page.

    python -m benchmarks --only api [--history FOLDER]

Requests go over kept connections, with a login, from this process to the server's; the processor time is that of the
server alone.  The log lines are ten for each execution.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.followers import Followers
from benchmarks.history import fill_log
from benchmarks.index import execution_id
from benchmarks.load import Answers, fire, get
from benchmarks.server import AUTHORIZATION, Server

FLOWS = Path(__file__).parent / "flows"
Figures = dict[str, Any]
Path_ = Callable[[int], str]
_HOME = "_default"
_MANY_FLOWS = 10_000
_FLOWS_AT_ONCE = 500
_TURNS = 0.1  # of the requests warm up
_WINDOWS = 5  # each is measured for itself: others may use the machine during one of them


def requests(server: Server, *, executions: int, seconds: float) -> list[Figures]:
    """GET of one execution 1,000 times a second and searches 500 times a second, by password and by token."""
    token = server.token()
    found = []
    for login, authorization in (("password", AUTHORIZATION), ("token", f"Bearer {token}")):
        rows: list[tuple[str, float, Path_]] = [
            (
                "GET execution",
                1_000,
                lambda number: f"executions/{execution_id(number * 7_919 % executions)}",
            ),
            *((name, 500.0, path) for name, path in searches(executions)),
        ]
        found += [
            _load(server, name, path, authorization, login, rate=rate, seconds=seconds)
            for name, rate, path in rows
        ]
    return found


def searches(executions: int) -> Sequence[tuple[str, Path_]]:
    """Searches of executions as lists, people and programs ask them; the number makes each different."""
    newest = "executions/search?size=25&sort=state.startDate:desc"
    day = _filter("startDate", "GREATER_THAN_OR_EQUAL_TO")

    def since(number: int) -> str:
        moment = datetime.now(UTC) - timedelta(days=1, milliseconds=number)
        return urllib.parse.quote(moment.isoformat(timespec="milliseconds"))

    return (
        ("search, newest", lambda number: f"{newest}&page={number % 5 + 1}"),
        (
            "search, one flow",
            lambda number: (
                f"{newest}&{_filter('namespace', 'EQUALS')}=company.team{number % 20}"
                f"&{_filter('flowId', 'EQUALS')}=flow-{number % 100}"
            ),
        ),
        ("search, failed", lambda number: f"{newest}&{_filter('state', 'IN')}=FAILED&page={number % 20 + 1}"),
        ("search, last day", lambda number: f"{newest}&{day}={since(number)}"),
        (
            "search, namespace and below",
            lambda number: f"{newest}&{_filter('namespace', 'PREFIX')}=company&page={number % 5 + 1}",
        ),
        (
            "search, label",
            lambda number: f"{newest}&{_filter('labels', 'EQUALS')}[team]=t{number % 7}".replace(
                "[team]", "%5Bteam%5D"
            ),
        ),
        (
            "search, part of an id",
            lambda number: f"{newest}&{_filter('q', 'EQUALS')}={execution_id(number % executions)[3:12]}",
        ),
    )


def questions(server: Server, *, times: int) -> list[Figures]:
    """One after the other: pages of 10,000 flows, log search over all lines, charts over all executions."""
    add_flows(server)
    asked: list[tuple[str, str, bytes | None]] = [
        ("flows, a page of 25 of 10,000", "flows/search?size=25&sort=id:asc", None),
        ("flows, page 200 of 50", "flows/search?size=50&page=200&sort=namespace:asc", None),
        ("flows by words", f"flows/search?size=25&{_filter('q', 'EQUALS')}=many-77", None),
        ("logs, newest", "logs/search?size=25&sort=timestamp:desc", None),
        (
            "logs by words",
            f"logs/search?size=25&sort=timestamp:desc&{_filter('q', 'EQUALS')}=number+4711",
            None,
        ),
        (
            "logs by words that all have",
            f"logs/search?size=25&sort=timestamp:desc&{_filter('q', 'EQUALS')}=benchmark",
            None,
        ),
        (
            "logs, errors only",
            f"logs/search?size=25&sort=timestamp:desc&{_filter('level', 'EQUALS')}=ERROR",
            None,
        ),
    ]
    for chart in server.get(f"dashboards/{_HOME}")["charts"]:
        if chart["type"].rpartition(".")[2] != "Markdown":
            path = f"dashboards/{_HOME}/charts/{chart['id']}"
            asked.append((f"chart {chart['id']}, 30 days", path, b"{}"))
    found = []
    for name, path, body in asked:
        server.ask("GET" if body is None else "POST", path, body)  # warm-up
        taken, used = [], server.processor_seconds()
        for _ in range(times):
            began = time.perf_counter()
            server.ask("GET" if body is None else "POST", path, body)
            taken.append(time.perf_counter() - began)
        used = server.processor_seconds() - used
        taken.sort()
        found.append(
            {
                "question": name,
                "p50, ms": _ms(taken[len(taken) // 2]),
                "max, ms": _ms(taken[-1]),
                "processor ms": round(used / times * 1000, 1),
            }
        )
    return found


def beside(server: Server, *, seconds: float) -> list[Figures]:
    """GET of executions, 100 a second, while something large is under way: who else waits, and for how long."""
    large: list[tuple[str, Callable[[], Any]]] = [
        ("nothing", lambda: time.sleep(seconds)),
        ("export of all executions as CSV", lambda: server.bytes_of("executions/export/by-query/csv")),
        (
            "kill of all executions by query",
            lambda: server.ask("DELETE", "executions/kill/by-query"),
        ),
        (
            "deletion of a fifth of them by query",
            lambda: server.ask(
                "DELETE",
                "executions/by-query?"
                + _filter("namespace", "IN")
                + "="
                + ",".join(f"company.team{n}" for n in range(1, 5)),
            ),
        ),
    ]
    return [asyncio.run(_beside(server, name, work)) for name, work in large]


def streams(server: Server, counts: Sequence[int]) -> list[Figures]:
    """Followers at once, each of an execution of its own or all of one: memory, and how soon they see a change."""
    server.save((FLOWS / "paused.yaml").read_text())
    found = [
        asyncio.run(_follow(server, [server.execute("benchmarks", "paused")] * count, count))
        for count in counts
    ]
    for count in counts:
        own = [server.execute("benchmarks", "paused") for _ in range(count)]
        found.append(asyncio.run(_follow(server, own, count)))
    return found


async def _follow(server: Server, executions: list[str], count: int) -> Figures:
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, server.until, executions[-1], "PAUSED")
    await asyncio.sleep(12)  # what was kept of the commands is let go
    before = server.memory_mb()
    followers = Followers("127.0.0.1", server.port, AUTHORIZATION)
    await followers.open(executions)
    await asyncio.sleep(5)
    after = server.memory_mb()
    used, began = server.processor_seconds(), time.perf_counter()
    request = get("127.0.0.1", server.port, f"/api/v1/main/executions/{execution_id(77)}", AUTHORIZATION)
    answers = await fire("127.0.0.1", server.port, request, count=500, rate=100)
    used = (server.processor_seconds() - used) / (time.perf_counter() - began)
    different = list(dict.fromkeys(executions))[:50]
    for each in different:
        await loop.run_in_executor(None, server.resume, each)
        await asyncio.sleep(0.1)
    wanted = count if len(different) == 1 else len(different)
    delays = sorted(await followers.first_delays("RUNNING", wanted))
    followers.close()
    return {
        "followers": count,
        "of executions": len(set(executions)),
        "idle memory, MB": before,
        "more memory, MB": round(after - before, 1),
        "GET p95 beside, ms": _ms(sorted(answers.seconds)[int(len(answers.seconds) * 0.95)]),
        "changes seen": len(delays),
        "seen after p50, ms": _ms(delays[len(delays) // 2]),
        "p95, ms": _ms(delays[int(len(delays) * 0.95)]),
        "max, ms": _ms(delays[-1]),
    }


def add_flows(server: Server) -> None:
    """Save the many flows, unless they are there."""
    names = [f"many-{number}" for number in range(_MANY_FLOWS)]
    if server.get(f"flows/search?size=1&{_filter('q', 'EQUALS')}=many-")["total"] >= _MANY_FLOWS:
        return
    for first in range(0, _MANY_FLOWS, _FLOWS_AT_ONCE):
        source = "\n---\n".join(
            f"id: {name}\nnamespace: company.team{number % 20}\n"
            "description: One of many flows\nlabels:\n  team: many\n"
            "tasks:\n  - id: hello\n    type: io.kestra.plugin.core.log.Log\n    message: Hello\n"
            for number, name in enumerate(names[first : first + _FLOWS_AT_ONCE], first)
        )
        server.ask("POST", "flows/bulk?delete=false", source.encode(), "application/x-yaml")


def two_webservers(servers: Sequence[Server], *, executions: int, seconds: float) -> list[Figures]:
    """Two webservers on Kafka and Elasticsearch: half of the requests goes to each."""
    asyncio.run(fill_log(servers[0].settings_file, executions, 1))
    while servers[0].get("executions/search?size=1")["total"] < executions:
        time.sleep(1)
    rows: list[tuple[str, float, Path_]] = [
        ("GET execution", 200, lambda number: f"executions/{execution_id(number * 7_919 % executions)}"),
        *((name, 100.0, path) for name, path in searches(executions)),
    ]
    return [
        _load(servers, name, path, AUTHORIZATION, "password", rate=rate, seconds=seconds)
        for name, rate, path in rows
    ]


def _load(
    servers: Server | Sequence[Server],
    name: str,
    path: Path_,
    authorization: str,
    login: str,
    *,
    rate: float,
    seconds: float,
) -> Figures:
    all_of_them = [servers] if isinstance(servers, Server) else servers
    count = int(rate * seconds)

    async def all_at_once(count: int) -> Answers:
        parts = await asyncio.gather(
            *(
                fire(
                    "127.0.0.1",
                    server.port,
                    lambda number, server=server: get(  # type: ignore[misc]  # a default binds the loop's variable
                        "127.0.0.1", server.port, f"/api/v1/main/{path(number)}", authorization
                    ),
                    count=count // len(all_of_them),
                    rate=rate / len(all_of_them),
                )
                for server in all_of_them
            )
        )
        merged = Answers(began=min(part.began for part in parts), ended=max(part.ended for part in parts))
        for part in parts:
            merged.codes.update(part.codes)
            merged.seconds += part.seconds
        return merged

    asyncio.run(all_at_once(int(count * _TURNS) + len(all_of_them)))
    used = sum(server.processor_seconds() for server in all_of_them)
    windows = [asyncio.run(all_at_once(count // _WINDOWS)) for _ in range(_WINDOWS)]
    used = sum(server.processor_seconds() for server in all_of_them) - used
    ordered = [sorted(window.seconds) for window in windows]
    codes = sum((window.codes for window in windows), Counter[int]())
    if set(codes) - {200}:
        raise RuntimeError(
            f"{name} by {login} was answered with {dict(codes)}: what is measured is not what is named"
        )
    middle = [_ms(each[len(each) // 2]) for each in ordered]
    late = [_ms(each[int(len(each) * 0.95)]) for each in ordered]
    answered = [len(window.seconds) / (window.ended - window.began) for window in windows]
    return {
        "request": name,
        "by": login,
        "asked per s": int(rate),
        "answered per s": round(statistics.median(answered)),
        "p50, ms": statistics.median(middle),
        "p95, ms": statistics.median(late),
        "p95 of the best and the worst window, ms": f"{min(late)} to {max(late)}",
        "processor ms each": round(used / codes.total() * 1000, 3),
        "HTTP codes": ", ".join(f"{code}: {number}" for code, number in sorted(codes.items())),
    }


async def _beside(server: Server, name: str, work: Callable[[], Any]) -> Figures:
    loop = asyncio.get_running_loop()
    request = get("127.0.0.1", server.port, f"/api/v1/main/executions/{execution_id(5)}", AUTHORIZATION)
    seconds: list[float] = []
    began = time.perf_counter()
    large = loop.run_in_executor(None, work)
    while not large.done():
        seconds += (await fire("127.0.0.1", server.port, request, count=50, rate=100, connections=8)).seconds
    taken = time.perf_counter() - began
    outcome = large.result()
    seconds.sort()
    return {
        "while": name,
        "it took, s": round(taken, 1),
        "GET p50, ms": _ms(seconds[len(seconds) // 2]),
        "GET p95, ms": _ms(seconds[int(len(seconds) * 0.95)]),
        "GET max, ms": _ms(seconds[-1]),
        "memory after, MB": server.memory_mb(),
        "peak memory, MB": server.peak_memory_mb(),
        "answer": "" if outcome is None else json.dumps(outcome)[:80],
    }


def _filter(field: str, operation: str) -> str:
    return urllib.parse.quote(f"filters[{field}][{operation}]", safe="")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
