"""Parts become one record a window, written when every reader is beyond it."""

from __future__ import annotations

from datetime import timedelta

from flowtide.analytics.closing import Windows
from flowtide.analytics.records import ClosedBefore, OpenWindow, Part, Progress
from flowtide.analytics.tally import Tally, moment
from flowtide.model.statistics import ExecutionStatistics

KEY = "main/company.team/hello"
OTHER = "main/company.team/other"
State = dict[bytes, OpenWindow | ClosedBefore]


def windows(state: State, partition: int = 0) -> Windows:
    return Windows(partition, state, lateness=timedelta(minutes=2))


def part(minute: int, created: int = 1) -> Part:
    return Part(start_ms=minute * 60_000, tally=Tally(created=created))


def progress(minute_of: dict[int, float], partitions: int = 2) -> Progress:
    return Progress(
        partitions=partitions, read_ms={number: int(at * 60_000) for number, at in minute_of.items()}
    )


def counts(closed: list[tuple[str, ExecutionStatistics]]) -> list[tuple[str, int, int]]:
    """Key, minute and created executions of what was written."""
    return [
        (key, round((record.window_start - moment(0)).total_seconds()) // 60, record.created)
        for key, record in closed
    ]


def test_a_window_closes_when_all_partitions_are_beyond_it() -> None:
    """Parts of all readers add up; the slowest reader and two minutes more decide when it is written."""
    held = windows({})
    assert held.add(KEY, part(10), offset=0)
    assert held.add(KEY, part(10, created=4), offset=1)
    assert held.add(OTHER, part(10), offset=2)
    assert held.add(KEY, part(11), offset=3)
    assert held.advance(progress({0: 99})) == []
    assert held.advance(progress({1: 12.9})) == []
    assert counts(held.advance(progress({1: 13.0}))) == [(KEY, 10, 5), (OTHER, 10, 1)]
    assert counts(held.advance(progress({0: 99, 1: 99}))) == [(KEY, 11, 1)]
    assert held.advance(progress({0: 200, 1: 200})) == []


def test_a_late_part_is_refused() -> None:
    """What comes after its window was written is not written as a second record of that window."""
    held = windows({})
    held.add(KEY, part(10), offset=0)
    held.advance(progress({0: 13, 1: 13}))
    assert not held.add(KEY, part(10), offset=1)
    assert held.add(KEY, part(11), offset=2)


def test_a_restart_goes_on_with_the_state() -> None:
    """Parts that are read again are in it already, closed windows stay closed, the rest closes as ever."""
    state: State = {}
    first = windows(state)
    first.add(KEY, part(10), offset=0)
    first.add(KEY, part(12), offset=1)
    first.advance(progress({0: 13, 1: 13}))
    again = windows(state)
    assert not again.add(KEY, part(10), offset=0)
    assert again.add(KEY, part(12), offset=1)
    assert again.add(KEY, part(12), offset=2)
    assert counts(again.advance(progress({0: 15, 1: 15}))) == [(KEY, 12, 2)]
    assert list(state) == [b"0/"]


def test_partitions_do_not_meet_in_the_shared_state() -> None:
    """Partition 1 neither sees nor closes the windows of partition 11."""
    state: State = {}
    eleventh = windows(state, 11)
    eleventh.add(KEY, part(10), offset=5)
    assert windows(state, 1).advance(progress({0: 99, 1: 99})) == []
    assert counts(windows(state, 11).advance(progress({0: 99, 1: 99}))) == [(KEY, 10, 1)]


def test_a_reader_that_goes_back_reopens_nothing() -> None:
    """A partition that moved is read again from earlier on; the time of the windows does not go back."""
    held = windows({})
    held.advance(progress({0: 20, 1: 20}))
    held.advance(progress({0: 5}))
    assert not held.add(KEY, part(16), offset=0)
