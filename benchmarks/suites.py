"""What is measured of a running server, a function each; every function gives a flat dictionary of figures."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.load import fire, webhook
from benchmarks.server import Server

FLOWS = Path(__file__).parent / "flows"
Figures = dict[str, Any]


def start_up(server: Server) -> Figures:
    """The first start on an empty folder, a second one, and memory while nothing happens."""
    first = server.start()
    server.stop()
    second = server.start()
    time.sleep(5)
    return {
        "first start, s": round(first, 2),
        "second start, s": round(second, 2),
        "idle memory, MB": server.memory_mb(),
    }


def load(server: Server, flow: str, *, count: int, rate: float | None) -> Figures:
    """Start `count` executions by webhook, `rate` per second (None: at once); latency by the server's own dates.

    Latency runs from the date of the request to the end of the execution.
    """
    server.save((FLOWS / f"{flow}.yaml").read_text())
    before = server.ended(flow)
    processor = server.processor_seconds()
    request = webhook(
        "127.0.0.1", server.port, f"/api/v1/main/executions/webhook/benchmarks/{flow}/benchmark"
    )
    answers = asyncio.run(fire("127.0.0.1", server.port, request, count=count, rate=rate))
    while server.ended(flow) < before + count:
        time.sleep(0.2)
        if time.time() - answers.ended > 300:
            raise RuntimeError(f"{before + count - server.ended(flow)} executions of {flow} did not end")
    indexed = time.time()
    processor = server.processor_seconds() - processor
    documents = server.executions(flow, count)
    latency = sorted(document["durationSeconds"] * 1000 for document in documents)
    began = min(document["state"]["startDate"] for document in documents)
    ended = max(document["state"]["endDate"] for document in documents)
    span = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    states = {document["state"]["current"] for document in documents}
    return {
        "flow": flow,
        "executions": len(documents),
        "asked per s": rate if rate is not None else "all at once",
        "finished per s": round(count / span, 1),
        "p50, ms": round(latency[len(latency) // 2], 1),
        "p95, ms": round(latency[int(len(latency) * 0.95)], 1),
        "max, ms": round(latency[-1], 1),
        "HTTP p50, ms": round(sorted(answers.seconds)[count // 2] * 1000, 1),
        "in the index after, s": round(indexed - answers.began, 1),
        "processor ms per execution": round(processor / count * 1000, 2),
        "states": ", ".join(sorted(states)),
        "HTTP codes": ", ".join(f"{code}: {number}" for code, number in sorted(answers.codes.items())),
    }


def loop(server: Server, iterations: int) -> Figures:
    """One execution with a loop; time by the server's own dates, bytes by the kernel's account of the process."""
    source = (FLOWS / "bench03.yaml").read_text().replace("ITERATIONS", str(iterations))
    flow = f"bench03-{iterations}"
    server.save(source)
    written = server.written_bytes()
    server.execute("benchmarks", flow)
    while server.ended(flow) < 1:
        time.sleep(0.2)
    document = server.executions(flow, 1)[0]
    written = server.written_bytes() - written
    seconds = document["durationSeconds"]
    return {
        "iterations": iterations,
        "seconds": round(seconds, 3),
        "ms per iteration": round(seconds / iterations * 1000, 3),
        "bytes written per iteration": round(written / iterations),
        "memory, MB": server.memory_mb(),
        "peak memory, MB": server.peak_memory_mb(),
        "state": document["state"]["current"],
    }


def soak(server: Server, *, minutes: float, rate: float) -> list[Figures]:
    """Half load for a long time: memory and latency minute by minute."""
    rows = []
    for minute in range(1, int(minutes) + 1):
        figures = load(server, "bench01", count=int(rate * 60), rate=rate)
        rows.append({"minute": minute, "memory, MB": server.memory_mb(), "p95, ms": figures["p95, ms"]})
    return rows
