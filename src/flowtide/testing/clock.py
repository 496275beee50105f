"""Virtual time: an event loop whose clock moves only when nothing is ready, so that hours pass in milliseconds.

In goes a coroutine, out comes its result; the same coroutine runs the same way every time.  There are no threads:
what is handed to an executor runs at once, on the loop.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

_Result = TypeVar("_Result")

START = datetime(2026, 1, 1, tzinfo=UTC)


class NothingEverHappens(RuntimeError):
    """Everybody waits, and no timer is set: a deadlock."""


class _Selector(selectors.BaseSelector):
    """Waits by moving the loop's clock.  Each turn takes a microsecond, so that who polls in a circle grows older."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.microseconds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; else let the time pass that the loop would wait."""
        self.microseconds += 1
        ready = self._real.select(0)
        if ready:
            return ready
        if timeout is None:
            raise NothingEverHappens("everybody waits, and no timer is set")
        if timeout > 0:
            self.microseconds += math.ceil(timeout * 1_000_000)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See `selectors`."""
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """See `selectors`."""
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See `selectors`."""
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        """See `selectors`."""
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """See `selectors`."""
        return self._real.get_map()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which begins at `start`."""

    def __init__(self, start: datetime = START) -> None:
        self._virtual = _Selector()
        self._start = start
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds since the start."""
        return self._virtual.microseconds / 1_000_000

    def now(self) -> datetime:
        """The moment, in UTC; a clock to hand to services."""
        return self._start + timedelta(microseconds=self._virtual.microseconds)

    def run_in_executor(  # type: ignore[override]  # typeshed's type variables say the same
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call it at once; time does not pass meanwhile."""
        future: asyncio.Future[Any] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        return future


def run_virtual(
    main: Callable[[VirtualLoop], Coroutine[Any, Any, _Result]], *, start: datetime = START
) -> _Result:
    """Run a coroutine in virtual time.  What it leaves behind is cancelled.

    Raises NothingEverHappens when everybody waits for nobody.
    """
    loop = VirtualLoop(start)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))
