"""Java's date patterns and ISO texts: reads dates from text, writes them by pattern (C F48 to F50).

All functions are pure; the zone to assume and the locale come in as arguments.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from flowtide.expressions.faults import Fault
from flowtide.expressions.printing import kind, offset_text

_SHORTCUTS: Final[dict[str, str]] = {
    "iso": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "iso_sec": "yyyy-MM-dd'T'HH:mm:ssXXX",
    "sql": "yyyy-MM-dd HH:mm:ss.SSSSSS",
    "sql_seq": "yyyy-MM-dd HH:mm:ss",
    "iso_date": "yyyy-MM-ddXXX",
    "iso_local_date": "yyyy-MM-dd",
    "iso_ordinal_date": "yyyy-DDDXXX",
    "rfc_1123_date_time": "EEE, d MMM yyyy HH:mm:ss 'GMT'",
}
_VARIABLE_SECONDS: Final[dict[str, tuple[str, str]]] = {
    "iso_date_time": ("yyyy-MM-dd'T'HH:mm:ss", "XXX'['VV']'"),
    "iso_zoned_date_time": ("yyyy-MM-dd'T'HH:mm:ss", "XXX'['VV']'"),
    "iso_offset_date_time": ("yyyy-MM-dd'T'HH:mm:ss", "XXX"),
    "iso_local_date_time": ("yyyy-MM-dd'T'HH:mm:ss", ""),
    "iso_instant": ("yyyy-MM-dd'T'HH:mm:ss", "X"),
    "iso_time": ("HH:mm:ss", "XXX"),
    "iso_local_time": ("HH:mm:ss", ""),
    "iso_offset_time": ("HH:mm:ss", "XXX"),
}
_STYLES: Final = frozenset({"full", "long", "medium", "short"})
_MONTHS: Final = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS: Final = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_ISO = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:T(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(Z|z|[+-]\d{2}(?::?\d{2}(?::?\d{2})?)?)?(?:\[([^\]]{1,64})\])?)?"
)
_LETTERS: Final = frozenset("GuyDMLdQqYwWEecahKkHmsSAnNVzvOXxZpB")
_MAX_PATTERN: Final = 200


def zone_of(name: Any, default: tzinfo) -> tzinfo:
    """The zone of a name such as `Europe/Paris`, `UTC`, `Z` or `+02:00`; the default for null."""
    if name is None:
        return default
    if isinstance(name, tzinfo):
        return name
    if not isinstance(name, str):
        raise Fault(f"a time zone must be a string, not a {kind(name)}")
    return _zone(name)


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    if name in ("Z", "UTC", "GMT", "UT"):
        return UTC
    offset = re.fullmatch(r"(?:UTC|GMT|UT)?([+-])(\d{1,2})(?::?(\d{2}))?(?::?(\d{2}))?", name)
    if offset:
        sign, hours, minutes, seconds = offset.groups()
        span = timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
        if span > timedelta(hours=18):
            raise Fault(f"the offset '{name}' is more than 18 hours")
        return timezone(-span if sign == "-" else span)
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise Fault(f"unknown time zone '{name[:60]}'") from None


def to_datetime(value: Any, zone: tzinfo, existing: Any = None, locale: str = "en") -> datetime:
    """An aware date from anything that upstream accepts as one (C F49); raises Fault."""
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=zone)
    if isinstance(value, date):
        return datetime.combine(value, time(12), zone)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, zone)
        except (ValueError, OverflowError, OSError):
            raise Fault("the number of seconds is out of range for a date") from None
    if not isinstance(value, str):
        raise Fault(f"cannot read a {kind(value)} as a date")
    try:
        if existing is not None:
            if not isinstance(existing, str):
                raise Fault("the argument `existingFormat` must be a string")
            return parse(value.strip(), existing, zone, locale)
        return _parse_iso(value.strip(), zone)
    except (ValueError, OverflowError):
        raise Fault("the text is no valid date") from None


def _parse_iso(text: str, zone: tzinfo) -> datetime:
    match = _ISO.fullmatch(text)
    if match is None:
        raise Fault("the text is no ISO date; name its pattern with `existingFormat`")
    offset, region = match.group(8), match.group(9)
    found = zone
    if offset:
        found = _zone(offset.upper())
    if region:
        named = _zone(region)
        if offset:
            return _instant(match, found).astimezone(named)
        found = named
    return _instant(match, found)


def _instant(match: re.Match[str], zone: tzinfo) -> datetime:
    year, month, day, hour, minute, second, fraction, _, _ = match.groups()
    micros = int((fraction or "0")[:6].ljust(6, "0"))
    return datetime(
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), micros, zone
    )


# Writing


def format_date(value: datetime, pattern: str, locale: str = "en") -> str:
    """The text of a date by a shortcut, a style or a Java pattern; raises Fault for an invalid pattern."""
    name = pattern.lower()
    if name in _VARIABLE_SECONDS:
        base, suffix = _VARIABLE_SECONDS[name]
        if suffix.endswith("'['VV']'") and not isinstance(value.tzinfo, ZoneInfo):
            suffix = "XXX"
        fraction = ".SSSSSS" if value.microsecond % 1000 else ".SSS" if value.microsecond else ""
        pattern = base + fraction + suffix
    elif name == "iso_week_date":
        year, week, day = value.isocalendar()
        return f"{year:04d}-W{week:02d}-{day}{offset_text(value)}"
    elif name in _STYLES:
        from babel.dates import format_datetime

        return str(format_datetime(value, format=name, locale=_babel(locale)))
    elif name in _SHORTCUTS:
        pattern = _SHORTCUTS[name]
        if name == "rfc_1123_date_time":
            value = value.astimezone(UTC)
    return "".join(
        part if isinstance(part, str) else _field(value, part[0], part[1], locale)
        for part in _tokens(pattern)
    )


@lru_cache(maxsize=512)
def _tokens(pattern: str) -> tuple[str | tuple[str, int], ...]:
    """Literals as text, fields as (letter, count); optional sections become their content."""
    if len(pattern) > _MAX_PATTERN:
        raise Fault(f"the date pattern is longer than {_MAX_PATTERN} characters")
    tokens: list[str | tuple[str, int]] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if char == "'":
            end = position + 1
            literal = ""
            while True:
                stop = pattern.find("'", end)
                if stop < 0:
                    raise Fault(f"the date pattern '{pattern}' has an unclosed quote")
                literal += pattern[end:stop]
                if not pattern.startswith("''", stop):
                    break
                literal += "'"
                end = stop + 2
            tokens.append(literal or "'")
            position = stop + 1
        elif char.isascii() and char.isalpha():
            count = 1
            while position + count < len(pattern) and pattern[position + count] == char:
                count += 1
            if char not in _LETTERS:
                raise Fault(
                    f"unknown letter `{char}` in the date pattern '{pattern}'; quote text like 'this'"
                )
            if count > 9 or (count > 5 and char not in "SnNAyuY"):
                raise Fault(f"too many letters `{char}` in the date pattern '{pattern}'")
            tokens.append((char, count))
            position += count
        elif char in "{}#":
            raise Fault(f"`{char}` is reserved in the date pattern '{pattern}'")
        elif char in "[]":
            tokens.append(("[", 1) if char == "[" else ("]", 1))
            position += 1
        else:
            tokens.append(char)
            position += 1
    return tuple(tokens)


def _field(value: datetime, letter: str, count: int, locale: str) -> str:
    if letter in "[]":
        return ""
    number = _number(value, letter, locale)
    if letter in "uyY":
        assert number is not None
        return f"{number % 100:02d}" if count == 2 else f"{number:0{count}d}"
    if letter in "ML":
        return f"{value.month:0{count}d}" if count < 3 else _name("month", value.month, count, locale)
    if letter in "Qq":
        quarter = (value.month + 2) // 3
        if count < 3:
            return f"{quarter:0{count}d}"
        if count == 3:
            return f"Q{quarter}"
        return str(quarter) if count == 5 else f"{('1st', '2nd', '3rd', '4th')[quarter - 1]} quarter"
    if letter == "E" or (letter in "ec" and count >= 3):
        return _name("day", value.isoweekday(), max(count, 3), locale)
    if letter == "a":
        return _period(value, locale)
    if letter == "G":
        return {4: "Anno Domini", 5: "A"}.get(count, "AD")
    if letter == "S":
        return f"{value.microsecond:06d}000"[:count]
    if number is not None:
        return f"{number:0{count}d}"
    if letter in "XxZOVzv":
        return _zone_text(value, letter, count)
    raise Fault(f"the letter `{letter}` is not supported in date patterns")


def _number(value: datetime, letter: str, locale: str) -> int | None:
    """The value of a numeric field, or None for others."""
    if letter in "uy":
        return value.year
    if letter in "Yw":
        year, week = _week(value, locale)
        return year if letter == "Y" else week
    if letter == "W":
        first, minimum = _week_rule(locale)
        return _week_number(value.day, value.isoweekday(), first, minimum)
    if letter in "ec":
        return (value.isoweekday() - _week_rule(locale)[0]) % 7 + 1
    numbers: dict[str, int] = {
        "D": value.timetuple().tm_yday,
        "d": value.day,
        "h": (value.hour + 11) % 12 + 1,
        "K": value.hour % 12,
        "k": value.hour or 24,
        "H": value.hour,
        "m": value.minute,
        "s": value.second,
        "n": value.microsecond * 1000,
    }
    seconds = value.hour * 3600 + value.minute * 60 + value.second
    numbers["A"] = seconds * 1000 + value.microsecond // 1000
    numbers["N"] = seconds * 1_000_000_000 + value.microsecond * 1000
    return numbers.get(letter)


def _week_rule(locale: str) -> tuple[int, int]:
    """First day of the week (Monday is 1) and how many days make a first week."""
    if locale.replace("-", "_") in ("en", "en_US"):
        return 7, 1
    babel = _babel(locale)
    return babel.first_week_day + 1, babel.min_week_days


def _week_number(day: int, weekday: int, first: int, minimum: int) -> int:
    start = (weekday - first - (day - 1)) % 7  # how far into its week the first day of the period is
    full = 7 - start
    return (day - 1 + start) // 7 + (1 if full >= minimum else 0)


def _week(value: datetime, locale: str) -> tuple[int, int]:
    first, minimum = _week_rule(locale)
    week = _week_number(value.timetuple().tm_yday, value.isoweekday(), first, minimum)
    if week == 0:
        last = date(value.year - 1, 12, 31)
        return value.year - 1, _week_number(last.timetuple().tm_yday, last.isoweekday(), first, minimum)
    if value.month == 12 and value.day > 25:
        weekday = (value.isoweekday() + 32 - value.day - 1) % 7 + 1
        if _week_number(1, weekday, first, minimum) == 1 and 32 - value.day <= (weekday - first) % 7:
            return value.year + 1, 1
    return value.year, week


def _babel(locale: str) -> Any:
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(locale.replace("-", "_"))
    except (UnknownLocaleError, ValueError, TypeError):
        raise Fault(f"unknown locale '{locale[:40]}'") from None


@lru_cache(maxsize=256)
def _names(what: str, width: str, locale: str) -> dict[int, str]:
    """Names of months (from 1) or days (from Monday, 1)."""
    if locale == "en" or locale.startswith(("en_US", "en-US")):
        source = _MONTHS if what == "month" else _DAYS
        cut = {"wide": None, "abbreviated": 3, "narrow": 1}[width]
        return {index: name[:cut] for index, name in enumerate(source, 1)}
    babel = _babel(locale)
    if what == "month":
        return dict(babel.months["format"][width])
    return {index + 1: name for index, name in babel.days["format"][width].items()}


def _name(what: str, number: int, count: int, locale: str) -> str:
    width = "wide" if count == 4 else "narrow" if count >= 5 else "abbreviated"
    return _names(what, width, locale)[number]


def _period(value: datetime, locale: str) -> str:
    if locale == "en" or locale.startswith(("en_US", "en-US")):
        return "AM" if value.hour < 12 else "PM"
    periods = _babel(locale).day_periods["format"]["abbreviated"]
    return str(periods["am" if value.hour < 12 else "pm"])


def _zone_text(value: datetime, letter: str, count: int) -> str:
    offset = value.utcoffset() or timedelta()
    total = int(offset.total_seconds())
    sign = "-" if total < 0 else "+"
    hours, rest = divmod(abs(total), 3600)
    minutes, seconds = divmod(rest, 60)
    if letter == "V":
        if isinstance(value.tzinfo, ZoneInfo):
            return str(value.tzinfo.key)
        return "Z" if not total else f"{sign}{hours:02d}:{minutes:02d}"
    if letter in "zv":
        if not isinstance(value.tzinfo, ZoneInfo):
            return "Z" if not total else f"{sign}{hours:02d}:{minutes:02d}"
        return value.tzname() or ""
    if letter == "O" or (letter == "Z" and count == 4):
        if not total:
            return "GMT"
        if count == 4:
            return f"GMT{sign}{hours:02d}:{minutes:02d}"
        return f"GMT{sign}{hours}" + (f":{minutes:02d}" if minutes else "")
    if (letter == "X" or (letter == "Z" and count == 5)) and not total:
        return "Z"
    if letter == "Z":
        return f"{sign}{hours:02d}:{minutes:02d}" if count == 5 else f"{sign}{hours:02d}{minutes:02d}"
    if count == 1:
        return f"{sign}{hours:02d}" + (f"{minutes:02d}" if minutes else "")
    colon = ":" if count in (3, 5) else ""
    result = f"{sign}{hours:02d}{colon}{minutes:02d}"
    return result + (f"{colon}{seconds:02d}" if count >= 4 and seconds else "")


# Reading


def parse(text: str, pattern: str, zone: tzinfo, locale: str = "en") -> datetime:
    """Reads a text by a Java pattern: zoned if the pattern has a zone, else local, dates at midnight."""
    name = pattern.lower()
    if name in _VARIABLE_SECONDS or name in ("iso", "iso_sec"):
        return _parse_iso(text, zone)
    expression, letters = _reader(_SHORTCUTS.get(name, pattern), locale)
    match = expression.fullmatch(text) if len(text) <= 500 else None
    if match is None:
        raise Fault(f"the text does not have the form '{pattern}'")
    fields: dict[str, tuple[str, int]] = {}
    for index, (letter, count) in enumerate(letters):
        found = match.group(f"g{index}")
        if found is not None:
            fields[letter] = (found, count)
    return _assemble(fields, zone, locale)


@lru_cache(maxsize=256)
def _reader(pattern: str, locale: str) -> tuple[re.Pattern[str], tuple[tuple[str, int], ...]]:
    tokens = _tokens(pattern)
    parts: list[str] = []
    letters: list[tuple[str, int]] = []
    depth = 0
    for index, token in enumerate(tokens):
        if isinstance(token, str):
            parts.append(re.escape(token))
            continue
        letter, count = token
        if letter == "[":
            depth += 1
            parts.append("(?:")
            continue
        if letter == "]":
            depth -= 1
            if depth < 0:
                raise Fault(f"the date pattern '{pattern}' closes an optional part that is not open")
            parts.append(")?")
            continue
        following = tokens[index + 1] if index + 1 < len(tokens) else ""
        adjacent = not isinstance(following, str) and following[0] in "uyMdHhKkmsSDn"
        parts.append(f"(?P<g{len(letters)}>{_field_pattern(letter, count, adjacent, locale)})")
        letters.append(token)
    if depth:
        raise Fault(f"the date pattern '{pattern}' has an optional part that is not closed")
    return re.compile("".join(parts)), tuple(letters)


def _field_pattern(letter: str, count: int, adjacent: bool, locale: str) -> str:
    if letter in "uyY":
        if count == 2:
            return r"\d{2}"
        return rf"\d{{{count}}}" if adjacent or count == 4 else r"\d{1,4}"
    if letter in "ML" and count >= 3:
        width = "wide" if count == 4 else "abbreviated"
        return "|".join(
            re.escape(name) for name in sorted(_names("month", width, locale).values(), key=len, reverse=True)
        )
    if letter == "E":
        width = "wide" if count == 4 else "abbreviated"
        return "|".join(
            re.escape(name) for name in sorted(_names("day", width, locale).values(), key=len, reverse=True)
        )
    if letter == "a":
        return r"[AaPp]\.?[Mm]\.?"
    if letter == "S":
        return rf"\d{{{count}}}"
    if letter in "MLdHhKkmsDn":
        return r"\d{1,9}" if letter == "n" else (r"\d{1,3}" if count == 1 else rf"\d{{{count}}}")
    if letter in "XxZO":
        return r"Z|GMT(?:[+-]\d{1,2}(?::?\d{2})?)?|[+-]\d{2}(?::?\d{2}(?::?\d{2})?)?"
    if letter in "Vzv":
        return r"[A-Za-z][A-Za-z0-9_+\-/]{0,60}|[+-]\d{2}:?\d{2}"
    raise Fault(f"the letter `{letter}` cannot be read, only written")


def _assemble(fields: dict[str, tuple[str, int]], zone: tzinfo, locale: str) -> datetime:
    def number(letters: str, default: int) -> int:
        return next((int(fields[letter][0]) for letter in letters if letter in fields), default)

    year_text, year_count = next((fields[letter] for letter in "yu" if letter in fields), ("", 0))
    if not year_text:
        raise Fault("the date pattern has no year")
    year = int(year_text) + (2000 if year_count == 2 else 0)
    month, day = 1, number("d", 1)
    for letter in "ML":
        if letter in fields:
            text, count = fields[letter]
            if count < 3:
                month = int(text)
            else:
                names = _names("month", "wide" if count == 4 else "abbreviated", locale)
                month = next(index for index, name in names.items() if name == text)
    hour = number("Hk", 0) % 24 if "k" in fields else number("H", 0)
    if "h" in fields or "K" in fields:
        hour = number("hK", 0) % 12
        if "a" in fields and fields["a"][0][0] in "pP":
            hour += 12
    micros = int(fields["S"][0][:6].ljust(6, "0")) if "S" in fields else number("n", 0) // 1000
    found = next((_zone(fields[letter][0]) for letter in "VzvXxZO" if letter in fields), zone)
    result = datetime(year, month, day, hour, number("m", 0), number("s", 0), micros, found)
    if "D" in fields and "M" not in fields and "L" not in fields:
        result += timedelta(days=int(fields["D"][0]) - 1)
    return result


# Arithmetic

_UNITS: Final[dict[str, timedelta]] = {
    "MICROS": timedelta(microseconds=1),
    "MILLIS": timedelta(milliseconds=1),
    "SECONDS": timedelta(seconds=1),
    "MINUTES": timedelta(minutes=1),
    "HOURS": timedelta(hours=1),
    "HALF_DAYS": timedelta(hours=12),
}
_DAY_UNITS: Final = {"DAYS": 1, "WEEKS": 7}
_MONTH_UNITS: Final = {"MONTHS": 1, "YEARS": 12, "DECADES": 120, "CENTURIES": 1200, "MILLENNIA": 12000}


def add(value: datetime, amount: int, unit: str) -> datetime:
    """Adds ChronoUnits: days and longer keep the local time, months clamp to the month's end."""
    try:
        if unit in _UNITS:
            return (value.astimezone(UTC) + amount * _UNITS[unit]).astimezone(value.tzinfo)
        if unit == "NANOS":
            return (value.astimezone(UTC) + timedelta(microseconds=amount // 1000)).astimezone(value.tzinfo)
        if unit in _DAY_UNITS:
            return value + timedelta(days=amount * _DAY_UNITS[unit])
        if unit in _MONTH_UNITS:
            months = value.year * 12 + value.month - 1 + amount * _MONTH_UNITS[unit]
            year, month = divmod(months, 12)
            following = date(year + (month == 11), (month + 1) % 12 + 1, 1)
            last = (following - timedelta(days=1)).day
            return value.replace(year=year, month=month + 1, day=min(value.day, last))
    except (ValueError, OverflowError):
        raise Fault("the resulting date is out of range") from None
    known = ", ".join(["NANOS", *_UNITS, *_DAY_UNITS, *_MONTH_UNITS])
    raise Fault(f"unknown unit '{unit[:40]}'; the units are {known}")
