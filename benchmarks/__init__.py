"""Benchmarks: programs that measure, each printing JSON; `python -m benchmarks` runs the whole system's."""
