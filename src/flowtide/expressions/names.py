"""The names of functions by what they need, so that an engine knows where it may evaluate a template."""

from __future__ import annotations

from typing import Final

IO_FUNCTIONS: Final = frozenset(
    {
        "appLink",
        "assets",
        "credential",
        "env",
        "errorLogs",
        "fileExists",
        "fileSize",
        "fileURI",
        "http",
        "isFileEmpty",
        "kv",
        "loopOutputs",
        "randomPort",
        "read",
        "secret",
        "subflow",
    }
)
"""Functions that look outside of the template's variables; the caller of a Scope supplies them."""

UNREPEATABLE_FUNCTIONS: Final = frozenset(
    {"encrypt", "id", "ksuid", "nanoId", "now", "randomInt", "randomPort", "uuid"}
)
"""Functions that answer differently every time, so that their result must be recorded."""

UNKNOWABLE_FUNCTIONS: Final = frozenset({"render", "renderOnce", "printContext", "fetchContext"})
"""Functions that may read any variable, whatever the template names."""
