"""The embedded log: the port on SQLite, or in memory, for one process; see `log.py` for its rules."""

from flowtide.log.embedded.log import EmbeddedLog

__all__ = ["EmbeddedLog"]
