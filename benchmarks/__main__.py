"""Runs the system's benchmarks, prints each figure as it comes, and writes them as JSON and into the documentation.

    python -m benchmarks                     the embedded shape, and Kafka with Elasticsearch where they are named
    python -m benchmarks --shape embedded --only load --quick
    python -m benchmarks --soak 10           memory over ten minutes at half load
    python -m benchmarks --api               the API over 100,000 executions; --history FOLDER keeps them for later

The addresses of Kafka and Elasticsearch come from FLOWTIDE_TEST_KAFKA and FLOWTIDE_TEST_ELASTICSEARCH, as for tests.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import api, suites
from benchmarks.history import fill_folder
from benchmarks.server import Server

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "explain" / "performance.md"


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=["embedded", "kafka"], action="append")
    parser.add_argument("--only", choices=["start", "load", "loop"], action="append")
    parser.add_argument("--quick", action="store_true", help="fewer executions and iterations")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="half load for so long, nothing else")
    parser.add_argument(
        "--api", action="append", nargs="?", const="all", choices=["all", *API], metavar="TABLE"
    )
    parser.add_argument(
        "--history", type=Path, help="the data folder with 100,000 executions, made where it is not"
    )
    parser.add_argument("--executions", type=int, default=100_000, help="of the history")
    parser.add_argument("--largest-loop", type=int, default=100_000)
    options = parser.parse_args()
    kafka = os.environ.get("FLOWTIDE_TEST_KAFKA")
    elasticsearch = os.environ.get("FLOWTIDE_TEST_ELASTICSEARCH")
    shapes = options.shape or ["embedded", *(["kafka"] if kafka and elasticsearch else [])]
    if "kafka" in shapes and not (kafka and elasticsearch):
        sys.exit("set FLOWTIDE_TEST_KAFKA and FLOWTIDE_TEST_ELASTICSEARCH; `make services` starts both")
    RESULTS.mkdir(exist_ok=True)
    if options.api and options.shape == ["kafka"]:
        write(measure_two_webservers(options, kafka, elasticsearch), "kafka-api-requests")
        write_page()
        return
    for shape in () if options.api else shapes:
        server = Server(kafka=kafka, elasticsearch=elasticsearch) if shape == "kafka" else Server()
        try:
            found = measure(server, shape, options)
        finally:
            server.stop()
        write(found, f"{shape}{'-soak' if options.soak else ''}")
    if options.api or ("embedded" in shapes and not (options.only or options.soak)):
        for table in measure_api(options):
            write(table, f"embedded-api-{table['table']}")
    write_page()


def write(found: dict[str, Any], name: str) -> None:
    """Keep the figures, with where and how they were measured."""
    found["machine"] = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "load at the end": round(os.getloadavg()[0], 1),
    }
    found["command"] = "python -m benchmarks " + " ".join(sys.argv[1:])
    found["at"] = datetime.now(UTC).isoformat(timespec="seconds")
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")


API = ("requests", "questions", "streams", "beside")


def measure_api(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The API's tables over a past of 100,000 executions."""
    wanted = [name for name in API if {name, "all"} & set(options.api or ["all"])]
    less = 5 if options.quick else 1
    folder = Path(tempfile.mkdtemp(prefix="flowtide-bench-"))
    history = options.history or folder / "history"
    filled = fill_folder(history, options.executions)
    print("filled in", round(filled, 1), "s", flush=True)
    # What is measured changes its data: the history is copied, so that the next time finds it as it was.
    shutil.copytree(history, folder / "data")
    server = Server(folder=folder)
    server.start()
    tables: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "requests": lambda: api.requests(server, executions=options.executions, seconds=10 / less),
        "questions": lambda: api.questions(server, times=10 // (2 if options.quick else 1)),
        "streams": lambda: api.streams(server, (100, 500) if options.quick else (500, 1_000)),
        "beside": lambda: api.beside(server, seconds=10 / less),
    }
    try:
        for name in wanted:
            rows = tables[name]()
            for row in rows:
                print(name, json.dumps(row), flush=True)
            yield {"shape": "embedded", "table": name, name: rows}
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def measure(server: Server, shape: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything of one shape, in the order of the page."""
    embedded = shape == "embedded"
    wanted = options.only or ["start", "load", "loop"]
    less = 10 if options.quick else 1
    found: dict[str, Any] = {"shape": shape}

    def note(name: str, work: Callable[[], Any]) -> None:
        found.setdefault(name, []).append(figures := work())
        print(shape, name, json.dumps(figures), flush=True)

    if "start" in wanted and not options.soak:
        note("start", lambda: suites.start_up(server))
    else:
        server.start()
    if options.soak:
        rate = 100 if embedded else 75
        found["soak"] = suites.soak(server, minutes=options.soak, rate=rate)
        print(shape, "soak", json.dumps(found["soak"]), flush=True)
        return found
    if "load" in wanted:
        suites.load(server, "bench01", count=200, rate=50)  # warm-up
        low, sustained, ten = (10, 200, 120) if embedded else (5, 150, 60)
        note("load", lambda: suites.load(server, "bench01", count=low * 20 // less, rate=low))
        note("load", lambda: suites.load(server, "bench01", count=sustained * 30 // less, rate=sustained))
        note("load", lambda: suites.load(server, "bench01", count=5000 // less, rate=None))
        note("load", lambda: suites.load(server, "ten", count=ten * 20 // less, rate=ten))
        note("load", lambda: suites.load(server, "bench02", count=ten * 20 // less, rate=ten))
        found["memory after load, MB"] = server.memory_mb()
    if "loop" in wanted:
        for iterations in (100, 1_000, 10_000, 100_000):
            if iterations <= options.largest_loop // less:
                note("loop", lambda n=iterations: suites.loop(server, n))  # type: ignore[misc]  # a default binds the loop's variable
    return found


def measure_two_webservers(
    options: argparse.Namespace, kafka: str | None, elasticsearch: str | None
) -> dict[str, Any]:
    """Reads and searches through two webservers on Kafka and Elasticsearch, over a fifth of the history."""
    first = Server(kafka=kafka, elasticsearch=elasticsearch)
    found: dict[str, Any] = {"shape": "kafka"}
    second: Server | None = None
    try:
        first.start()
        second = Server(kafka=kafka, elasticsearch=elasticsearch, beside=first)
        second.start()
        found["executions"] = options.executions // 5
        found["requests"] = api.two_webservers(
            [first, second], executions=found["executions"], seconds=2 if options.quick else 10
        )
        for row in found["requests"]:
            print("kafka", json.dumps(row), flush=True)
    finally:
        for server in (second, first):
            if server is not None:
                server.stop()
    return found


def write_page() -> None:
    """Put the tables of the last results between the marks of the documentation's page."""
    if not PAGE.exists():
        return
    begin, end = "<!-- figures: begin -->", "<!-- figures: end -->"
    text = PAGE.read_text()
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n{tables()}{end}{after}")


def tables() -> str:
    """The last results of each shape as Markdown."""
    lines: list[str] = []
    for file in sorted(RESULTS.glob("*.json")):
        found = json.loads(file.read_text())
        machine = found["machine"]
        where = f"{machine['cores']} cores, Python {machine['python']}, {found['at']}"
        if "load at the end" in machine:
            where += f", load {machine['load at the end']}"
        lines += [f"\n### {file.stem}\n", f"`{found['command'].strip()}` on {where}.\n"]
        for name in ("start", "load", "loop", "soak", *API):
            rows = found.get(name)
            if rows:
                heads = list(rows[0])
                lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
                lines += ["| " + " | ".join(str(row.get(head, "")) for head in heads) + " |" for row in rows]
                lines.append("")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
