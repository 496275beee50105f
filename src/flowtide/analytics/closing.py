"""The second step, by flow: parts of windows and the progress of readers in, a record per closed window out.

One `Windows` holds one partition of the parts.  When a window closes follows from the records alone: every partition
of `execution_events` has been read beyond its end, and some time more for clocks that differ.  So a backlog closes
windows as exactly as live events do, and reading records again after a crash changes nothing.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import timedelta

from flowtide.analytics.records import ClosedBefore, OpenWindow, Part, Progress
from flowtide.analytics.tally import WINDOW_MS, Tally, statistics
from flowtide.log.keys import flow_key
from flowtide.model.statistics import ExecutionStatistics

#: How much later than events after it an event may come and still be counted.
LATENESS = timedelta(minutes=2)


class Windows:
    """The open windows of one partition; `state` is shared with the other partitions and survives."""

    def __init__(
        self,
        partition: int,
        state: MutableMapping[bytes, OpenWindow | ClosedBefore],
        *,
        lateness: timedelta = LATENESS,
    ) -> None:
        self._state = state
        self._mine = f"{partition}/"
        self._lateness_ms = lateness // timedelta(milliseconds=1)
        self._read_ms: dict[int, int] = {}
        self._closed_name = self._mine.encode()
        closed = state.get(self._closed_name)
        self._closed_before_ms = closed.start_ms if isinstance(closed, ClosedBefore) else 0
        self._flows: dict[int, set[str]] = {}  # start of an open window -> keys of flows
        for name in state:
            if name.startswith(self._closed_name) and name != self._closed_name:
                start, flow = name.decode().removeprefix(self._mine).split("/", 1)
                self._flows.setdefault(int(start), set()).add(flow)

    def add(self, key: str, part: Part, *, offset: int) -> bool:
        """Add a part to its window; False: the window is closed already, so the part is lost."""
        if part.start_ms < self._closed_before_ms:
            return False
        name = self._name(part.start_ms, key)
        window = self._state.get(name)
        tally = Tally()
        if isinstance(window, OpenWindow):
            if offset <= window.through:
                return True
            tally.add(window.tally)
        tally.add(part.tally)
        self._state[name] = OpenWindow(tally=tally, through=offset)
        self._flows.setdefault(part.start_ms, set()).add(key)
        return True

    def advance(self, progress: Progress) -> list[tuple[str, ExecutionStatistics]]:
        """Note how far readers are; gives the key and the record of each window that closes, the oldest first.

        The windows are forgotten by this call, so write the records before its changes of the state are kept.
        """
        for partition, read_ms in progress.read_ms.items():
            self._read_ms[partition] = max(read_ms, self._read_ms.get(partition, 0))
        if len(self._read_ms) < progress.partitions:
            return []
        closable_ms = min(self._read_ms.values()) - self._lateness_ms
        closed_before_ms = closable_ms - closable_ms % WINDOW_MS
        if closed_before_ms <= self._closed_before_ms:
            return []
        closed = []
        for start_ms in sorted(start for start in self._flows if start < closed_before_ms):
            for key in sorted(self._flows.pop(start_ms)):
                window = self._state.pop(self._name(start_ms, key))
                assert isinstance(window, OpenWindow)
                closed.append((key, statistics(flow_key(key), start_ms, window.tally)))
        self._state[self._closed_name] = ClosedBefore(start_ms=closed_before_ms)
        self._closed_before_ms = closed_before_ms
        return closed

    def _name(self, start_ms: int, key: str) -> bytes:
        return f"{self._mine}{start_ms}/{key}".encode()
