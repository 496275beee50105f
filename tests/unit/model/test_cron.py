"""Dates of cron expressions: fields, nicknames, ends of months, leap years, and the days when clocks
change.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtide.errors import ScheduleInvalid
from flowtide.model.cron import Cron


def local(cron: Cron, start: str, count: int, *, backwards: bool = False) -> list[str]:
    """The next or last dates, as a clock on the wall shows them, with the offset."""
    moment = datetime.fromisoformat(start)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=cron.zone)
    dates = cron.before(moment) if backwards else cron.after(moment)
    return [date.astimezone(cron.zone).strftime("%Y-%m-%d %H:%M:%S%z") for date in islice(dates, count)]


@pytest.mark.parametrize(
    ("expression", "start", "expected"),
    [
        ("*/15 * * * *", "2025-01-01 00:07", ["2025-01-01 00:15", "2025-01-01 00:30"]),
        ("0 12 L * *", "2024-01-31 12:00", ["2024-02-29 12:00", "2024-03-31 12:00"]),
        ("0 12 L * *", "2025-01-31 12:00", ["2025-02-28 12:00", "2025-03-31 12:00"]),
        ("0 0 29 2 *", "2025-01-01 00:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 31 * *", "2025-03-31 00:00", ["2025-05-31 00:00", "2025-07-31 00:00"]),
        ("0 11 * * MON", "2025-01-01 00:00", ["2025-01-06 11:00", "2025-01-13 11:00"]),
        ("0 9 * JAN mon-fri", "2025-01-03 09:00", ["2025-01-06 09:00", "2025-01-07 09:00"]),
        ("0 0 * * 7", "2025-01-01 00:00", ["2025-01-05 00:00", "2025-01-12 00:00"]),
        ("@yearly", "2025-01-01 00:00", ["2026-01-01 00:00", "2027-01-01 00:00"]),
        ("@annually", "2025-06-01 00:00", ["2026-01-01 00:00", "2027-01-01 00:00"]),
        ("@monthly", "2025-01-01 00:00", ["2025-02-01 00:00", "2025-03-01 00:00"]),
        ("@weekly", "2025-01-01 00:00", ["2025-01-05 00:00", "2025-01-12 00:00"]),
        ("@daily", "2025-01-01 00:00", ["2025-01-02 00:00", "2025-01-03 00:00"]),
        ("@midnight", "2025-01-01 12:00", ["2025-01-02 00:00", "2025-01-03 00:00"]),
        ("@hourly", "2025-01-01 12:01", ["2025-01-01 13:00", "2025-01-01 14:00"]),
    ],
)
def test_five_fields_names_and_nicknames_give_their_dates(
    expression: str, start: str, expected: list[str]
) -> None:
    """Fields, `L`, names and nicknames mean what page 485 says (SCH-02, SCH-03)."""
    found = local(Cron(expression), start, len(expected))
    assert found == [f"{date}:00+0000" for date in expected]


def test_six_fields_have_the_seconds_first() -> None:
    """`withSeconds` puts the seconds before the minutes."""
    cron = Cron("*/20 59 23 * * *", seconds=True)
    assert local(cron, "2024-12-31 23:59:10", 3) == [
        "2024-12-31 23:59:20+0000",
        "2024-12-31 23:59:40+0000",
        "2025-01-01 23:59:00+0000",
    ]


@pytest.mark.parametrize("expression", ["30 2 * * *", "0 30 2 * * *"])
def test_a_time_that_is_skipped_in_spring_fires_when_the_clocks_have_moved_on(expression: str) -> None:
    """Europe/Paris goes from 02:00 to 03:00 on 30 March 2025; with or without seconds, nothing is lost."""
    cron = Cron(expression, "Europe/Paris", seconds=expression.count(" ") == 5)
    assert local(cron, "2025-03-29 12:00", 2) == ["2025-03-30 03:00:00+0200", "2025-03-31 02:30:00+0200"]
    assert local(cron, "2025-03-31 00:00", 2, backwards=True) == [
        "2025-03-30 03:00:00+0200",
        "2025-03-29 02:30:00+0100",
    ]


@pytest.mark.parametrize("expression", ["30 2 * * *", "0 30 2 * * *"])
def test_a_time_that_comes_twice_in_autumn_fires_the_first_time(expression: str) -> None:
    """Europe/Paris has 02:30 twice on 26 October 2025."""
    cron = Cron(expression, "Europe/Paris", seconds=expression.count(" ") == 5)
    assert local(cron, "2025-10-26 00:00", 2) == ["2025-10-26 02:30:00+0200", "2025-10-27 02:30:00+0100"]
    # The second 02:15 lies between the first 02:30 and the second one, which does not fire.
    assert local(cron, "2025-10-26T01:15:00+00:00", 1) == ["2025-10-27 02:30:00+0100"]
    assert local(cron, "2025-10-26T01:15:00+00:00", 1, backwards=True) == ["2025-10-26 02:30:00+0200"]


def test_new_york_changes_its_clocks_too() -> None:
    """America/New_York: 02:00 becomes 03:00 on 9 March 2025, 01:30 comes twice on 2 November."""
    assert local(Cron("15 2 * * *", "America/New_York"), "2025-03-08 12:00", 2) == [
        "2025-03-09 03:00:00-0400",
        "2025-03-10 02:15:00-0400",
    ]
    assert local(Cron("30 1 * * *", "America/New_York"), "2025-11-01 12:00", 2) == [
        "2025-11-02 01:30:00-0400",
        "2025-11-03 01:30:00-0500",
    ]


def test_a_frequent_schedule_follows_real_time_when_clocks_change() -> None:
    """Every half hour stays every half hour: twice as often on the wall in autumn, without a gap in
    spring.
    """
    cron = Cron("*/30 * * * *", "Europe/Paris")
    assert local(cron, "2025-10-26 01:45", 5) == [
        "2025-10-26 02:00:00+0200",
        "2025-10-26 02:30:00+0200",
        "2025-10-26 02:00:00+0100",
        "2025-10-26 02:30:00+0100",
        "2025-10-26 03:00:00+0100",
    ]
    assert local(cron, "2025-03-30 01:45", 2) == ["2025-03-30 03:00:00+0200", "2025-03-30 03:30:00+0200"]


def test_a_day_that_a_zone_skips_fires_at_its_end() -> None:
    """Samoa had no 30 December 2011."""
    assert local(Cron("30 12 * * *", "Pacific/Apia"), "2011-12-29 12:30", 2) == [
        "2011-12-31 00:00:00+1400",
        "2011-12-31 12:30:00+1400",
    ]


def test_midnight_is_that_of_the_zone() -> None:
    """`@daily` in New York is 05:00 in UTC in winter (page 485)."""
    after = Cron("@daily", "America/New_York").after(datetime(2025, 1, 15, 12, tzinfo=UTC))
    assert next(after) == datetime(2025, 1, 16, 5, tzinfo=UTC)


def test_an_expression_without_any_date_has_none() -> None:
    """30 February is refused, or never comes; it is not searched for without end."""
    with pytest.raises(ScheduleInvalid, match="30 2"):
        Cron("0 0 30 2 *")


@pytest.mark.parametrize(
    ("expression", "zone", "seconds", "reason"),
    [
        ("* * * *", "UTC", False, "has 4 fields"),
        ("* * * * * *", "UTC", False, "set `withSeconds: true`"),
        ("* * * * *", "UTC", True, "has 5 fields"),
        ("61 * * * *", "UTC", False, "minute"),
        ("* * * * FOO", "UTC", False, "day-of-week"),
        ("@sometimes", "UTC", False, "nickname"),
        ("* * * * *", "Europe/Atlantis", False, "time zone 'Europe/Atlantis'"),
        ("* * * * *", "../etc/passwd", False, "time zone"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(
    expression: str, zone: str, seconds: bool, reason: str
) -> None:
    """The message names what is wrong."""
    with pytest.raises(ScheduleInvalid, match=reason):
        Cron(expression, zone, seconds=seconds)


@given(
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001 - the zone is set below
    zone=st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    expression=st.sampled_from(["30 2 * * *", "*/7 * * * *", "0,30 1-3 * * *", "5 4 L * *", "0 0 * * MON"]),
)
def test_dates_ascend_and_the_way_back_is_the_same(moment: datetime, zone: str, expression: str) -> None:
    """Dates after a moment ascend strictly, and each is the last one before the next."""
    cron = Cron(expression, zone)
    start = moment.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    dates = list(islice(cron.after(start), 4))
    assert all(earlier < later for earlier, later in pairwise([start, *dates]))
    for earlier, later in pairwise(dates):
        assert next(cron.before(later)) == earlier
        assert next(cron.before(later + timedelta(seconds=1))) == later
