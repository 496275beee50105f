"""Failed logins: who tried in, whether they may try again out (AUTH-07).

State: the failures of the last minutes by name and by address; a lock itself is saved with the user's password, so
that it holds on every server, and kept here for names that have no password.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

_REMEMBERED = 10_000  # names, and addresses: whoever makes up more of them pushes out the oldest


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How often somebody may fail."""

    threshold: int = 10  # failures of one name within the window lock it; 0 never does
    window: timedelta = timedelta(minutes=5)
    lock: timedelta = timedelta(minutes=30)
    address_failures: int = (
        50  # failures from one address within the window; then it waits for the window's end
    )
    address_waiting: int = (
        32  # passwords of one address that are being compared at a time: a team behind one proxy
    )


class Attempts:
    """Counts failures on one server."""

    def __init__(self, clock: Callable[[], datetime], limits: Limits) -> None:
        self._clock = clock
        self.limits = limits
        self._names: OrderedDict[str, deque[datetime]] = OrderedDict()
        self._addresses: OrderedDict[str, deque[datetime]] = OrderedDict()
        self._waiting: dict[str, int] = {}
        self._locks: OrderedDict[str, datetime] = OrderedDict()

    def refused_for(self, address: str) -> timedelta | None:
        """How long an address has to wait before it may try again; None when it may."""
        failures = self._recent(self._addresses, address)
        if len(failures) >= self.limits.address_failures:
            return failures[0] + self.limits.window - self._clock()
        return None

    def is_busy(self, address: str) -> bool:
        """Whether as many passwords of an address are being compared as may be at a time."""
        return self._waiting.get(address, 0) >= self.limits.address_waiting

    def begin(self, address: str) -> None:
        """A password of an address is being compared."""
        self._waiting[address] = self._waiting.get(address, 0) + 1

    def end(self, address: str) -> None:
        """It is done."""
        left = self._waiting.get(address, 0) - 1
        if left > 0:
            self._waiting[address] = left
        else:
            self._waiting.pop(address, None)

    def failed(self, name: str, address: str) -> bool:
        """Note a failure; gives whether the name is to be locked now."""
        now = self._clock()
        self._recent(self._addresses, address).append(now)
        failures = self._recent(self._names, name.casefold())
        failures.append(now)
        if not self.limits.threshold or len(failures) < self.limits.threshold:
            return False
        self._names.pop(name.casefold(), None)
        return True

    def forget(self, name: str) -> None:
        """A login that worked, or a new password, wipes out the failures of a name."""
        self._names.pop(name.casefold(), None)
        self._locks.pop(name.casefold(), None)

    def lock(self, name: str) -> None:
        """Lock a name on this server: one of a directory, which has no password here that could be locked."""
        self._locks[name.casefold()] = self._clock() + self.limits.lock
        if len(self._locks) > _REMEMBERED:
            self._locks.popitem(last=False)

    def is_locked(self, name: str) -> bool:
        """Whether a name is locked on this server."""
        until = self._locks.get(name.casefold())
        return until is not None and until > self._clock()

    def _recent(self, table: OrderedDict[str, deque[datetime]], key: str) -> deque[datetime]:
        failures = table.get(key)
        if failures is None:
            failures = table[key] = deque(maxlen=max(self.limits.threshold, self.limits.address_failures, 1))
            if len(table) > _REMEMBERED:
                table.popitem(last=False)
        else:
            table.move_to_end(key)
        oldest = self._clock() - self.limits.window
        while failures and failures[0] <= oldest:
            failures.popleft()
        return failures
