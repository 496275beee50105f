"""Flowtide: an event-sourced workflow orchestrator.

What authors of plugins import is exported by the packages `flowtide.model` and `flowtide.testing`; here stands
the version, and nothing that costs time when a command starts.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
