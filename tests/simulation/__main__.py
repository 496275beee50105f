"""`python -m tests.simulation --seeds N`: plays N seeds, tells what broke, and how to play it again."""

# ruff: noqa: T201 - a program for a terminal
from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.simulation import checks
from tests.simulation.system import Simulation

SEEDS = Path(__file__).parent / "seeds.txt"
STEPS = 60


def kept_seeds() -> list[int]:
    """Seeds that once showed a defect."""
    lines = (line.partition("#")[0].strip() for line in SEEDS.read_text().splitlines())
    return [int(line) for line in lines if line]


def commit() -> str:
    """The commit that runs."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def play(seed: int, steps: int, *, trace: bool = False) -> bool:
    """Play one seed; tells what broke.  False when something did."""
    simulation = Simulation(seed, steps)
    try:
        simulation.run()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        print(f"\nseed {seed} at commit {commit()} broke after {len(simulation.story)} steps:")
        for line in simulation.story:
            print(f"  {line}")
        print(f">>> {type(error).__name__}: {error}")
        if not isinstance(error, checks.Broken) or error.__cause__ is not None:
            traceback.print_exc()
        print(f'again: make simulate SIMULATE_ARGS="--seed {seed} --steps {steps}"\n', flush=True)
        return False
    if trace:
        values = [record.value or b"" for record in checks.records(simulation._log, "execution_events")]
        digest = hashlib.sha256(b"\n".join(values)).hexdigest()[:16]
        print(f"seed {seed}: {len(values)} events, {simulation.fired} firings, trace {digest}")
    return True


def main() -> int:
    """Play what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to play (default 100)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (default 1)")
    parser.add_argument("--seed", type=int, help="play this seed only, and tell a digest of its events")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"what happens to each (default {STEPS})")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets of texts is part of what a seed repeats.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], environment)
    if arguments.seed is not None:
        return 0 if play(arguments.seed, arguments.steps, trace=True) else 1
    seeds = [*kept_seeds(), *range(arguments.first, arguments.first + arguments.seeds)]
    started = time.monotonic()
    broken = [seed for seed in seeds if not play(seed, arguments.steps)]
    print(f"{len(seeds)} seeds, {len(broken)} broken {broken or ''} ({time.monotonic() - started:.0f} s)")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
