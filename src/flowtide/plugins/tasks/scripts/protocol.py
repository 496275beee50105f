"""The lines `::{...}::` by which a script reports outputs, metrics and log lines (C §14, P01 to P15)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from flowtide.errors import TaskFailed
from flowtide.model.entries import Level
from flowtide.model.runner import OutputStream
from flowtide.model.task import MaskedStream, RunContext
from flowtide.plugins.runners.lines import PIECE_BYTES

_LINE: Final = re.compile(r"^::(\{.*\})::$", re.DOTALL)
_LARGEST_OUTPUTS_CHARACTERS: Final = 64 * 1024 * 1024  # of all lines with outputs of one attempt
_PIECE_CHARACTERS: Final = PIECE_BYTES // 4  # a letter has at most four bytes
_LEVELS: Final = {level.value: level for level in Level} | {"WARNING": Level.WARN, "CRITICAL": Level.ERROR}


class ScriptOutput:
    """Takes the lines of one attempt: what is protocol is obeyed, the rest is logged.  State: `variables`."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._lines = context.logger
        self._characters = 0
        self._problem: str | None = None
        self._held: dict[OutputStream, MaskedStream] = {}
        self.variables: dict[str, Any] = {}  # what `outputs` lines gave, later ones over earlier ones

    def line(self, stream: OutputStream, text: str) -> None:
        """One line of either stream."""
        if text.startswith("::{"):
            match = _LINE.match(text.rstrip())
            if match is not None:
                self._payload(match[1], text)
                return
        # A line that is too long comes in pieces, and a secret may lie across two of them.
        held = self._held.get(stream)
        if len(text) >= _PIECE_CHARACTERS and len(text.encode()) >= PIECE_BYTES:
            if held is None:
                held = self._held[stream] = self._context.masked_stream()
            text = held.feed(text)
        elif held is not None:
            text = held.feed(text) + held.flush()
            del self._held[stream]
        self._log(stream, text)

    def _log(self, stream: OutputStream, text: str) -> None:
        self._lines.log(Level.INFO if stream == "stdout" else Level.ERROR, text)

    def check(self) -> None:
        """To be called at the end.  Raises TaskFailed when a line asked for what cannot be done."""
        for stream, held in self._held.items():
            self._log(stream, held.flush())
        self._held.clear()
        if self._problem is not None:
            raise TaskFailed(self._problem)

    def _payload(self, content: str, line: str) -> None:
        try:
            payload = json.loads(content)
        except (ValueError, RecursionError) as error:
            shown = "::{...}::" if "encryptedOutputs" in line else line[:500]
            self._lines.warn("Invalid outputs '{}': {}", shown, error)
            return
        # What is secret comes first, so that it is masked in whatever is said of the rest of the line.
        for key, value in sorted(payload.items(), key=lambda item: item[0] != "encryptedOutputs"):
            handler = _HANDLERS.get(key)
            if handler is None:
                self._lines.warn("Unknown key `{}` in '{}'", key, line[:500])
            else:
                handler(self, value, line)

    def _outputs(self, value: Any, line: str) -> None:
        if not isinstance(value, dict):
            self._lines.warn("Invalid outputs '{}': `outputs` must be a mapping", line[:500])
            return
        self._characters += len(line)
        if self._characters > _LARGEST_OUTPUTS_CHARACTERS:
            self._problem = (
                "the script gave more than 64 MiB of outputs; store them in a file with `outputFiles`"
            )
            return
        self.variables.update(value)

    def _metrics(self, value: Any, line: str) -> None:
        if not isinstance(value, list):
            self._lines.warn("Invalid outputs '{}': `metrics` must be a list", line[:500])
            return
        for metric in value:
            problem = self._metric(metric)
            if problem is not None:
                self._lines.warn("Invalid metric '{}': {}", json.dumps(metric)[:500], problem)

    def _metric(self, metric: Any) -> str | None:
        if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
            return "it needs a `name`"
        number = metric.get("value")
        if isinstance(number, bool) or not isinstance(number, int | float):
            return "its `value` must be a number"
        tags = metric.get("tags") or {}
        if not isinstance(tags, dict):
            return "its `tags` must be a mapping"
        texts = {str(key): tag if isinstance(tag, str) else json.dumps(tag) for key, tag in tags.items()}
        match metric.get("type"):
            case "counter":
                self._context.counter(metric["name"], number, **texts)
            case "gauge":
                self._context.gauge(metric["name"], number, **texts)
            case "timer":
                try:
                    duration = timedelta(seconds=number)
                except (OverflowError, ValueError):
                    return "its `value` is no number of seconds"
                self._context.timer(metric["name"], duration, **texts)
            case _:
                return "its `type` must be counter, timer or gauge"
        return None

    def _logs(self, value: Any, line: str) -> None:
        if not isinstance(value, list):
            self._lines.warn("Invalid outputs '{}': `logs` must be a list", line[:500])
            return
        for entry in value:
            if not isinstance(entry, dict) or "message" not in entry:
                self._lines.warn("Invalid log line '{}'", json.dumps(entry)[:500])
                continue
            level = _LEVELS.get(str(entry.get("level", "INFO")).upper(), Level.INFO)
            message = entry["message"]
            self._lines.log(level, message if isinstance(message, str) else json.dumps(message))

    def _encrypted(self, value: Any, line: str) -> None:
        if not isinstance(value, dict):
            # The line is not shown: what stands in it is secret.
            self._lines.warn("Invalid outputs: `encryptedOutputs` must be a mapping")
            return
        try:
            for name, secret in value.items():
                text = secret if isinstance(secret, str) else json.dumps(secret)
                self.variables[name] = self._context.encrypt(text, name)
        except TaskFailed as error:
            self._problem = f"{error.message}; it was not kept"

    def _assets(self, value: Any, line: str) -> None:
        self._lines.warn("The script gave `assets`; this version keeps none")


_HANDLERS: Final[Mapping[str, Callable[[ScriptOutput, Any, str], None]]] = {
    "outputs": ScriptOutput._outputs,  # noqa: SLF001 - the table of this class's own methods
    "metrics": ScriptOutput._metrics,  # noqa: SLF001 - the table of this class's own methods
    "logs": ScriptOutput._logs,  # noqa: SLF001 - the table of this class's own methods
    "encryptedOutputs": ScriptOutput._encrypted,  # noqa: SLF001 - the table of this class's own methods
    "assets": ScriptOutput._assets,  # noqa: SLF001 - the table of this class's own methods
}
