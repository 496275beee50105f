"""Queries to the index as values: filters, sorting, paging, groups and measures; no adapter's language in them."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec
import regex

from flowtide.errors import IndexQueryInvalid
from flowtide.index.kinds import Field, FieldType, parse_microseconds

MAXIMUM_SIZE = 10_000


class Operation(StrEnum):
    """How a field is compared (G_models, "QueryFilter wire encoding")."""

    EQUALS = "EQUALS"
    NOT_EQUALS = "NOT_EQUALS"  # also true where the field is absent
    IN = "IN"
    NOT_IN = "NOT_IN"  # also true where the field is absent
    GREATER_THAN = "GREATER_THAN"
    GREATER_THAN_OR_EQUAL_TO = "GREATER_THAN_OR_EQUAL_TO"
    LESS_THAN = "LESS_THAN"
    LESS_THAN_OR_EQUAL_TO = "LESS_THAN_OR_EQUAL_TO"
    CONTAINS = "CONTAINS"
    NOT_CONTAINS = "NOT_CONTAINS"  # also true where the field is absent
    STARTS_WITH = "STARTS_WITH"
    ENDS_WITH = "ENDS_WITH"
    REGEX = "REGEX"  # must match the whole value
    PREFIX = "PREFIX"  # a namespace and all below it
    IS_NULL = "IS_NULL"
    IS_NOT_NULL = "IS_NOT_NULL"


TEXTUAL = frozenset(
    {
        Operation.CONTAINS,
        Operation.NOT_CONTAINS,
        Operation.STARTS_WITH,
        Operation.ENDS_WITH,
        Operation.REGEX,
        Operation.PREFIX,
    }
)


class Match(msgspec.Struct, frozen=True, tag=True):
    """Compares one field.  Dates are datetime or ISO-8601 text; IN and NOT_IN take a sequence."""

    field: str
    operation: Operation
    value: Any = None


class HasLabel(msgspec.Struct, frozen=True, tag=True):
    """Carries this label; with `value=None` a label of this key, whatever its value."""

    key: str
    value: str | None = None
    negated: bool = False


class Words(msgspec.Struct, frozen=True, tag=True):
    """Free text: every word must be found.

    In log messages a word is found where a word of the message starts with it; elsewhere anywhere in an id, a
    namespace or a name.  Case does not matter.
    """

    text: str


class AllOf(msgspec.Struct, frozen=True, tag=True):
    """Every part holds; without parts, always true."""

    parts: tuple[Filter, ...]


class AnyOf(msgspec.Struct, frozen=True, tag=True):
    """At least one part holds; without parts, never true."""

    parts: tuple[Filter, ...]


Filter = Match | HasLabel | Words | AllOf | AnyOf


def where(**fields: Any) -> AllOf:
    """A filter that these fields have these values; `None` means that it does not matter."""
    return AllOf(
        tuple(Match(name, Operation.EQUALS, value) for name, value in fields.items() if value is not None)
    )


class Sort(msgspec.Struct, frozen=True):
    """A field to sort by; documents without it come last, equal ones follow by id."""

    field: str
    descending: bool = False


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What to find.  Either `page` (from 1) or `after`, the `next` of the page before."""

    kind: str
    filter: Filter | None = None
    sort: tuple[Sort, ...] = ()
    page: int = 1
    size: int = 25  # at most MAXIMUM_SIZE; 0 only counts
    after: str | None = None
    count: bool = True  # whether `Page.total` is wanted; costs a pass over all that matches


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A document as it was found."""

    id: str
    version: int
    body: bytes  # JSON, as it was written

    @property
    def document(self) -> dict[str, Any]:
        """The document; parsed at each call."""
        document: dict[str, Any] = msgspec.json.decode(self.body)
        return document


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of what was found."""

    results: list[Found]
    total: int | None  # how many match altogether; None: was not asked for
    next: str | None  # for `Query.after`; None: this was the last page


class Terms(msgspec.Struct, frozen=True, tag=True):
    """A group per value of a field; documents without the field are left out, or with `absent` a group of their own.

    The key of that group is None, and it comes first.
    """

    field: str
    absent: bool = False


class LabelValues(msgspec.Struct, frozen=True, tag=True):
    """A group per value of the label with this key; documents without the label are left out."""

    key: str


Interval = Literal["second", "minute", "hour", "day", "week", "month", "year"]


class Dates(msgspec.Struct, frozen=True, tag=True):
    """A group per interval in UTC that a date falls in, named by its beginning; weeks begin on Monday."""

    field: str
    interval: Interval


class Slices(msgspec.Struct, frozen=True, tag=True):
    """A group per slice of time of equal length, keyed by the slice's number; documents before `start` are left out."""

    field: str
    start: datetime  # to the millisecond
    width_ms: int  # at least 1


Group = Terms | LabelValues | Dates | Slices


class Measure(msgspec.Struct, frozen=True):
    """A number over the documents of a group; for dates, microseconds since 1970.

    "count" is the number of documents that have the field, whatever its type.
    """

    function: Literal["sum", "average", "minimum", "maximum", "count"]
    field: str


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """One group: its keys in the order of the groups that were asked for, and what was measured."""

    keys: tuple[str | int | float | bool | datetime | None, ...]
    count: int
    values: tuple[float | None, ...] = ()  # in the order of the measures


def comparable(field: Field, value: Any) -> str | int | float:
    """Bring a value that a person gave to the type of its field: dates to microseconds, truth to 0 and 1.

    Raises IndexQueryInvalid for what cannot be compared with the field.
    """
    if isinstance(value, StrEnum):
        value = value.value
    try:
        if field.type is FieldType.DATE:
            if isinstance(value, datetime):
                value = value.isoformat()
            return parse_microseconds(value) if isinstance(value, str) else int(value)
        if field.type is FieldType.BOOLEAN:
            if isinstance(value, bool):
                return int(value)
            return {"true": 1, "false": 0}[str(value).lower()]
        if field.type is FieldType.INTEGER:
            return int(value)
        if field.type is FieldType.NUMBER:
            return float(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        raise IndexQueryInvalid(
            f"{value!r} cannot be compared with {field.path}, which is a {field.type.value}", field=field.path
        ) from None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise IndexQueryInvalid(f"{field.path} is compared with text, not with {value!r}", field=field.path)
    return str(value)


def members(match: Match) -> Sequence[Any]:
    """The values of IN and NOT_IN; comma-separated text counts as a list, as on the wire."""
    if isinstance(match.value, str):
        return match.value.split(",")
    if not isinstance(match.value, Sequence | set | frozenset):
        raise IndexQueryInvalid(
            f"{match.operation} of {match.field} needs a list of values", field=match.field
        )
    return list(match.value)


def check_pattern(pattern: str) -> None:
    """Raises IndexQueryInvalid when a regular expression cannot be read."""
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise IndexQueryInvalid(f"{pattern!r} is no regular expression: {error}") from None


def words_of(text: str) -> list[str]:
    """The words of free text in lower case: runs of letters and digits."""
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


def checked(query: Query) -> Query:
    """Give the query back.  Raises IndexQueryInvalid when its page or size is out of bounds."""
    if not 0 <= query.size <= MAXIMUM_SIZE:
        raise IndexQueryInvalid(
            f"a page holds 0 to {MAXIMUM_SIZE:,} documents, not {query.size:,}", field="size"
        )
    if query.page < 1:
        raise IndexQueryInvalid(f"pages count from 1; there is no page {query.page}", field="page")
    return query


def write_cursor(values: Sequence[Any]) -> str:
    """Pack the place after which the next page starts."""
    return urlsafe_b64encode(msgspec.json.encode(values)).rstrip(b"=").decode()


def read_cursor(cursor: str, length: int) -> list[Any]:
    """Unpack `write_cursor`.  Raises IndexQueryInvalid for what is none, or one of another sorting."""
    try:
        values = msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, msgspec.DecodeError):
        values = None
    if (
        not isinstance(values, list)
        or len(values) != length
        or not all(value is None or isinstance(value, str | int | float) for value in values)
    ):
        raise IndexQueryInvalid(
            "this cursor is none of this query; start again from the first page", field="after"
        )
    return values


def beginning(microseconds: int) -> datetime:
    """The moment that a `Dates` group is named by."""
    return datetime.fromtimestamp(microseconds / 1_000_000, tz=UTC)
