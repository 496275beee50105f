"""Inputs: what a flow asks for (page 465, INP-01 to INP-15), a class a type.

A given value comes in, the typed one goes out, as JSON can carry it; `flowtide.model.input_resolution` does that for
all inputs of an execution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AliasChoices, ConfigDict, Field, TypeAdapter, field_validator, model_validator
from pydantic_core import PydanticCustomError

from flowtide.model.documents import DocumentLimits
from flowtide.model.durations import format_duration
from flowtide.model.encrypted import NO_KEY
from flowtide.model.input_values import (
    ITEM_READERS,
    as_boolean,
    as_day,
    as_duration,
    as_email,
    as_float,
    as_integer,
    as_json,
    as_list,
    as_moment,
    as_text,
    as_time,
    as_uri,
    as_yaml,
    kind_of,
    moment_text,
)
from flowtide.model.plugin import Part

if TYPE_CHECKING:
    import regex

Render = Callable[[Any, Mapping[str, Any]], Any]
Encrypt = Callable[[str, str], Any]
"""(text, input id) -> what is recorded in place of the text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputMeans:
    """What resolving needs from outside."""

    render: Render  # (template or structure of them, variables) -> typed value; raises ExpressionError
    encrypt: Encrypt | None = None  # None: no key is configured, SECRET inputs are refused
    # What was encrypted before may be given, and this gives its text.  None refuses it: else whoever sees the
    # encrypted value of somebody else could give it to a flow that shows it.
    decrypt: Callable[[Any], str] | None = None
    regex_timeout: timedelta = timedelta(seconds=10)  # `kestra.regex.timeout`
    document_limits: DocumentLimits | None = None  # of YAML values


class DependsOn(Part):
    """When an input is asked for (INP-20): all of `inputs` have a value, and `condition` is true."""

    inputs: Annotated[tuple[str, ...], Field(title="The inputs that come first")] = ()
    condition: Annotated[
        str | bool | None, Field(title="An expression; the input is asked for only when it is true")
    ] = None


class Input(Part):
    """What every input has."""

    id: Annotated[
        str,
        Field(
            title="The name of the input",
            pattern=r"^[a-zA-Z0-9][.a-zA-Z0-9_-]*$",
            max_length=256,
            validation_alias=AliasChoices("id", "name"),
            serialization_alias="id",
        ),
    ]
    required: Annotated[bool, Field(title="Whether it must be given")] = True
    defaults: Annotated[Any, Field(title="The value when none is given; may be a template")] = (
        None  # rendered when an execution is created; any YAML
    )
    prefill: Annotated[Any, Field(title="A value that a form begins with, and that may be cleared")] = (
        None  # what a form shows first; a person can clear it
    )
    depends_on: Annotated[
        DependsOn | None, Field(title="Other inputs that decide whether it is asked for")
    ] = None
    display_name: Annotated[str | None, Field(title="How it is shown")] = None
    description: Annotated[str | None, Field(title="What it is for, in Markdown")] = None

    @model_validator(mode="after")
    def _defaults_agree(self) -> Self:
        if self.defaults is not None and not self.required:
            raise PydanticCustomError(
                "input_defaults",
                "has `defaults` and `required: false`: a default is always used, so remove `required: false`, "
                "or give `prefill` instead of `defaults`",
            )
        if self.defaults is not None and self.prefill is not None:
            raise PydanticCustomError("input_defaults", "has both `defaults` and `prefill`: keep one of them")
        return self

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        """Make the typed value of a given one, which is not None.  Raises ValueError with the cause."""
        raise NotImplementedError

    @cached_property
    def path(self) -> tuple[str, ...]:
        """The id's parts; more than one means a nested value (INP-16)."""
        return tuple(self.id.split("."))


class MatchedInput(Input):
    """A text with a pattern."""

    validator: Annotated[str | None, Field(title="A regular expression that the value must match")] = (
        None  # a regular expression that the whole value must match
    )

    @field_validator("validator")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                _pattern(value)
            except ValueError as error:
                raise PydanticCustomError(
                    "regex", "is not a regular expression: {reason}", {"reason": str(error)}
                ) from None
        return value

    def check(self, text: str, means: InputMeans) -> None:
        """Insist on the validator.  Raises ValueError."""
        if self.validator is None:
            return
        seconds = means.regex_timeout.total_seconds()
        try:
            # The lock of the interpreter is let go, so that a slow pattern does not stop other threads.
            matched = _pattern(self.validator).fullmatch(text, timeout=seconds, concurrent=True)
        except TimeoutError:
            raise ValueError(
                f"matching the pattern `{self.validator}` took longer than {seconds:g} s; simplify the pattern"
            ) from None
        if matched is None:
            raise ValueError(f"it must match the pattern `{self.validator}`")


class StringInput(MatchedInput):
    """Any text (INP-03)."""

    type: Literal["STRING"]

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        text = as_text(value)
        self.check(text, means)
        return text


class SecretInput(MatchedInput):
    """A text that is recorded encrypted; the validator sees it before that (INP-13)."""

    type: Literal["SECRET"]

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        text = as_text(value)
        self.check(text, means)
        if means.encrypt is None:
            raise ValueError(f"a SECRET input cannot be used: {NO_KEY}")
        return means.encrypt(text, self.id)


class IntInput(Input):
    """An integer between bounds, both included (INP-04)."""

    type: Literal["INT"]
    min: Annotated[int | None, Field(title="The least value")] = None
    max: Annotated[int | None, Field(title="The greatest value")] = None

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        number = as_integer(value)
        _check_bounds(number, self.min, self.max, str)
        return number


class FloatInput(Input):
    """A number between bounds, both included (INP-04)."""

    type: Literal["FLOAT"]
    min: Annotated[float | None, Field(title="The least value")] = None
    max: Annotated[float | None, Field(title="The greatest value")] = None

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        number = as_float(value)
        _check_bounds(number, self.min, self.max, lambda bound: f"{bound:g}")
        return number


class ChoiceInput(Input):
    """Texts to choose from."""

    values: Annotated[tuple[Any, ...] | None, Field(title="The values to choose from")] = None
    expression: Annotated[str | None, Field(title="An expression that gives the values")] = (
        None  # gives the list of values
    )
    allow_custom_value: Annotated[bool, Field(title="Whether other values may be given")] = False
    auto_select_first: Annotated[bool, Field(title="Whether the first value is the default")] = False

    @field_validator("values")
    @classmethod
    def _values_are_texts(cls, value: tuple[Any, ...] | None) -> tuple[str, ...] | None:
        # Unquoted `true` or `1` mean the text that was written (trap 49).
        return None if value is None else tuple(as_text(each) for each in value)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.values is None) == (self.expression is None):
            raise PydanticCustomError("input_values", "needs either `values` or `expression`, and not both")
        return self

    def offered(self, means: InputMeans, variables: Mapping[str, Any]) -> tuple[str, ...]:
        """The values to choose from.  Raises ValueError when the expression gives no list."""
        if self.expression is None:
            return tuple(self.values or ())
        rendered = means.render(self.expression, variables)
        if isinstance(rendered, str):
            rendered = as_list(rendered, means.document_limits, "the `expression` must give a list")
        if isinstance(rendered, str | Mapping) or not isinstance(rendered, Sequence):
            raise ValueError(f"the `expression` must give a list, and not {kind_of(rendered)}")
        return tuple(as_text(each) for each in rendered)

    def _check_choice(self, text: str, options: tuple[str, ...] | None) -> None:
        if not self.allow_custom_value and options is not None and text not in options:
            raise ValueError(f"it must match the values `[{', '.join(options)}]`")


class SelectInput(ChoiceInput):
    """One of a list of texts (INP-05)."""

    type: Literal["SELECT"]
    is_radio: Annotated[bool, Field(title="Whether the values are shown as buttons")] = (
        False  # how a form shows it
    )

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        text = as_text(value)
        self._check_choice(text, options)
        return text


class EnumInput(ChoiceInput):
    """The former name of SELECT."""

    type: Literal["ENUM"]

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        text = as_text(value)
        self._check_choice(text, options)
        return text


class MultiselectInput(ChoiceInput):
    """Some of a list of texts, given as a list or as JSON (INP-06)."""

    type: Literal["MULTISELECT"]
    values: Annotated[
        tuple[Any, ...] | None,
        Field(
            title="The values to choose from",
            validation_alias=AliasChoices("values", "options"),
            serialization_alias="values",
        ),
    ] = None
    item_type: Annotated[Literal["STRING"], Field(title="The type of the values")] = "STRING"

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        chosen = [as_text(each) for each in as_list(value, means.document_limits, "it must be a list")]
        for text in chosen:
            self._check_choice(text, options)
        return chosen


class BoolInput(Input):
    """True or false (INP-07)."""

    type: Literal["BOOL"]

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        return as_boolean(value)


class BooleanInput(Input):
    """The former BOOL, which may also stay undefined (INP-07)."""

    type: Literal["BOOLEAN"]

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        return as_boolean(value)


class DatetimeInput(Input):
    """A moment, kept in UTC (INP-08); the bounds are included."""

    type: Literal["DATETIME"]
    after: Annotated[str | None, Field(title="The earliest moment")] = None
    before: Annotated[str | None, Field(title="The latest moment")] = None

    @field_validator("after", "before")
    @classmethod
    def _bound(cls, value: str | None) -> str | None:
        return _checked_bound(value, as_moment)

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        moment = as_moment(value)
        _check_range(moment, self.after, self.before, as_moment)
        return moment_text(moment)


class DateInput(Input):
    """A day (INP-08); the bounds are included."""

    type: Literal["DATE"]
    after: Annotated[str | None, Field(title="The earliest date")] = None
    before: Annotated[str | None, Field(title="The latest date")] = None

    @field_validator("after", "before")
    @classmethod
    def _bound(cls, value: str | None) -> str | None:
        return _checked_bound(value, as_day)

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        day = as_day(value)
        _check_range(day, self.after, self.before, as_day)
        return day.isoformat()


class TimeInput(Input):
    """A time of day (INP-08); the bounds are included."""

    type: Literal["TIME"]
    after: Annotated[str | None, Field(title="The earliest time")] = None
    before: Annotated[str | None, Field(title="The latest time")] = None

    @field_validator("after", "before")
    @classmethod
    def _bound(cls, value: str | None) -> str | None:
        return _checked_bound(value, as_time)

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        clock = as_time(value)
        _check_range(clock, self.after, self.before, as_time)
        return clock.isoformat()


class DurationInput(Input):
    """An ISO-8601 duration between bounds, both included (INP-08)."""

    type: Literal["DURATION"]
    min: Annotated[str | None, Field(title="The shortest duration")] = None
    max: Annotated[str | None, Field(title="The longest duration")] = None

    @field_validator("min", "max")
    @classmethod
    def _bound(cls, value: str | None) -> str | None:
        return _checked_bound(value, as_duration)

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        duration = as_duration(value)
        least = None if self.min is None else as_duration(self.min)
        most = None if self.max is None else as_duration(self.max)
        _check_bounds(duration, least, most, format_duration)
        return format_duration(duration)


class FileInput(Input):
    """A stored file, as a `kestra://` URI, or a default one as `nsfile://` or `file://` (INP-09)."""

    type: Literal["FILE"]
    allowed_file_extensions: Annotated[
        tuple[str, ...] | None, Field(title="The extensions that files may have")
    ] = None
    accept: str | None = None  # what a form's file chooser shows
    extension: Annotated[str | None, Field(title="The extension of the file that is stored")] = (
        None  # deprecated: has no effect on what is accepted
    )

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        if not isinstance(value, str) or not value.startswith(("kestra:///", "nsfile://", "file:///")):
            raise ValueError("it must be an uploaded file, or a URI that begins with nsfile:/// or file:///")
        if self.allowed_file_extensions is not None:
            name = value.partition("?")[0].rpartition("/")[2].lower()
            allowed = [each if each.startswith(".") else f".{each}" for each in self.allowed_file_extensions]
            if not any(name.endswith(each.lower()) for each in allowed):
                raise ValueError(f"the file's extension must be one of `[{', '.join(allowed)}]`")
        return value


class JsonInput(Input):
    """JSON, read to a typed value (INP-10)."""

    type: Literal["JSON"]

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        return as_json(value)


class YamlInput(Input):
    """YAML, read to a typed value (INP-11)."""

    type: Literal["YAML"]

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        return as_yaml(value, means.document_limits)


class UriInput(Input):
    """A URI, kept as text (INP-12)."""

    type: Literal["URI"]

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        return as_uri(value)


class EmailInput(Input):
    """An e-mail address (INP-15)."""

    type: Literal["EMAIL"]

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        return as_email(value)


class ArrayInput(Input):
    """A list whose items have one type (INP-14)."""

    type: Literal["ARRAY"]
    item_type: Annotated[Literal[
        "STRING", "INT", "FLOAT", "BOOLEAN", "BOOL", "DATETIME", "DATE", "TIME", "DURATION", "JSON", "YAML", "URI",
        "EMAIL",
    ], Field(title="The type of the items")]  # fmt: skip  # one line a group reads better than one a type

    def read(self, value: Any, means: InputMeans, options: tuple[str, ...] | None) -> Any:
        items = as_list(value, means.document_limits, "it must be a JSON array or a YAML list")
        reader = ITEM_READERS[self.item_type]
        read = []
        for index, item in enumerate(items):
            try:
                read.append(reader(item, means.document_limits))
            except ValueError as error:
                raise ValueError(f"item {index}: {error}") from None
        return read


AnyInput = Annotated[
    StringInput
    | IntInput
    | FloatInput
    | SelectInput
    | EnumInput
    | MultiselectInput
    | BooleanInput
    | BoolInput
    | DatetimeInput
    | DateInput
    | TimeInput
    | DurationInput
    | FileInput
    | JsonInput
    | YamlInput
    | UriInput
    | SecretInput
    | ArrayInput
    | EmailInput,
    Field(discriminator="type"),
]
INPUT_ADAPTER: TypeAdapter[Input] = TypeAdapter(AnyInput, config=ConfigDict(defer_build=True))


def dependency_cycle(inputs: Sequence[Input]) -> list[str] | None:
    """The ids of inputs that wait for each other by `dependsOn`, or None."""
    by_id = {each.id: each for each in inputs}
    done: set[str] = set()

    def visit(identifier: str, trail: list[str]) -> list[str] | None:
        if identifier in trail:
            return [*trail[trail.index(identifier) :], identifier]
        if identifier in done or identifier not in by_id:
            return None
        depends_on = by_id[identifier].depends_on
        for dependency in depends_on.inputs if depends_on else ():
            cycle = visit(dependency, [*trail, identifier])
            if cycle is not None:
                return cycle
        done.add(identifier)
        return None

    for each in inputs:
        cycle = visit(each.id, [])
        if cycle is not None:
            return cycle
    return None


def is_true(value: Any) -> bool:
    """Whether a rendered condition holds; false, 0, null, blank texts and their words do not (FLO-20)."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "false", "0", "-0", "null")
    return value is not None and value is not False and not (isinstance(value, int | float) and value == 0)


@lru_cache(maxsize=1000)
def _pattern(pattern: str) -> regex.Pattern[str]:
    """The compiled pattern.  Raises ValueError when it is none."""
    import regex  # costs a start more than the rest of this module, and few flows need it

    try:
        return regex.compile(pattern, regex.V1)  # version 1 reads nested sets as Java does
    except regex.error as error:
        raise ValueError(str(error)) from None


def _checked_bound(value: str | None, read: Callable[[Any], Any]) -> str | None:
    if value is not None:
        try:
            read(value)
        except ValueError as error:
            raise PydanticCustomError("input_bound", "{reason}", {"reason": str(error)}) from None
    return value


def _check_bounds(value: Any, least: Any, most: Any, write: Callable[[Any], str]) -> None:
    if least is not None and value < least:
        raise ValueError(f"it must be at least `{write(least)}`")
    if most is not None and value > most:
        raise ValueError(f"it must be at most `{write(most)}`")


def _check_range(value: Any, after: str | None, before: str | None, read: Callable[[Any], Any]) -> None:
    if after is not None and value < read(after):
        raise ValueError(f"it must be after `{after}`")
    if before is not None and value > read(before):
        raise ValueError(f"it must be before `{before}`")
