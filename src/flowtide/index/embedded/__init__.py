"""The search index in one SQLite file (or in memory): for one machine, tests and the simulator."""

from flowtide.index.embedded.adapter import EmbeddedIndex

__all__ = ["EmbeddedIndex"]
