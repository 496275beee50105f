"""Calls every method of one version of the pip package kestrapy as tests/clients/calls.yaml says, and reports as JSON.

Runs in a process of its own with the package on its path: `driver.py PACKAGES CALLS ADDRESS USERNAME PASSWORD`.
Reports on standard output: the methods that the version has, and what came of each line of the table.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import pkgutil
import re
import sys
import time
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

PATIENCE_SECONDS = 20.0
PAUSE_SECONDS = 0.1
TIMEOUT_SECONDS = 15
_VARIANTS = ("_with_http_info", "_without_preload_content")
_NAME = re.compile(r"\$\{([\w.]+)\}")


class BadLine(Exception):
    """A line of the table does not fit the client."""


def classes() -> dict[str, Any]:
    """Every class of operations that the package has, by name."""
    api = importlib.import_module("kestrapy.api")
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(api.__path__):
        loaded = importlib.import_module(f"kestrapy.api.{module.name}")
        found |= {
            name: each
            for name, each in vars(loaded).items()
            if inspect.isclass(each) and name.endswith("Api") and each.__module__ == loaded.__name__
        }
    return found


def methods(api: type[Any]) -> list[str]:
    """The operations of a class; the spellings of one operation for its raw answer count with it."""
    return [
        name
        for name, each in vars(api).items()
        if not name.startswith("_") and inspect.isfunction(each) and not name.endswith(_VARIANTS)
    ]


def connect(api: type[Any], address: str, username: str, password: str) -> Any:
    """An object of a class of operations, logged in, as the package's own client makes it."""
    module = importlib.import_module("kestrapy.kestra_client")
    configuration = importlib.import_module("kestrapy.configuration").Configuration(
        host=address, username=username, password=password
    )
    client = module.KestraClient(configuration)
    if "api_client" in vars(client):
        return api(client.api_client)
    return api(client._session, client._base_url, timeout=TIMEOUT_SECONDS)


def plain(value: Any) -> Any:
    """An answer as JSON would have it."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode(errors="replace")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(each) for each in value]
    if getattr(value, "actual_instance", None) is not None:
        return plain(value.actual_instance)
    if hasattr(value, "model_fields"):
        fields = type(value).model_fields
        known = {
            (fields[name].alias or name) if name in fields else name: each
            for name, each in vars(value).items()
        }
        return {name: plain(each) for name, each in known.items()}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def inside(value: Any, path: str) -> Any:
    """The part of an answer at a dotted path; `*` is the number of elements."""
    for step in path.split(".") if path else ():
        if step == "*":
            value = len(value)
        elif isinstance(value, list):
            value = value[int(step)] if int(step) < len(value) else None
        elif isinstance(value, Mapping):
            value = value.get(step)
        else:
            return None
    return value


def filled(value: Any, kept: Mapping[str, Any]) -> Any:
    """A value of the table with its `${name}`s replaced by what was kept; one that stands alone keeps its type."""
    if isinstance(value, str):
        if whole := _NAME.fullmatch(value):
            return filled(inside(kept, whole[1]), kept) if "." not in whole[1] else inside(kept, whole[1])
        return _NAME.sub(lambda found: str(filled(inside(kept, found[1]), kept)), value)
    if isinstance(value, Mapping):
        return {name: filled(each, kept) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(each, kept) for each in value]
    return value


def typed(annotation: Any, value: Any) -> Any:
    """A plain value as the type that a parameter asks for."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return typed(typing.get_args(annotation)[0], value)
    if origin is typing.Union or origin is types.UnionType:
        choices = [each for each in typing.get_args(annotation) if each is not type(None)]
        if isinstance(value, str) and any(typing.get_origin(each) is tuple for each in choices):
            return ("upload.yaml", value.encode())  # a file with its name
        return value if value is None else typed(choices[0], value)
    if origin is list and isinstance(value, list):
        (element,) = typing.get_args(annotation) or (Any,)
        return [typed(element, each) for each in value]
    if annotation is bytes and isinstance(value, str):
        return value.encode()
    if annotation is datetime and isinstance(value, str):
        return datetime.fromisoformat(value)
    if inspect.isclass(annotation) and issubclass(annotation, Enum) and isinstance(value, str):
        names = {each.value: each for each in annotation} | {each.name: each for each in annotation}
        return names[value]
    if inspect.isclass(annotation) and hasattr(annotation, "from_dict") and isinstance(value, Mapping):
        try:
            return annotation.from_dict(dict(value))
        except (
            ValueError
        ):  # some models are narrower than the API; the clients take plain values there as well
            return value
    return value


def arguments(
    method: Callable[..., Any], given: Mapping[str, Any], table: Mapping[str, Any], kept: Mapping[str, Any]
) -> dict[str, Any]:
    """What to call a method with: what its line gives, and the usual values of what it must have beside that.

    `body` is whatever parameter takes the body of the request: what the client names it differs.
    """
    parameters = {
        name: each
        for name, each in inspect.signature(method).parameters.items()
        if not name.startswith("_") and each.kind is not inspect.Parameter.VAR_KEYWORD
    }
    values: dict[str, Any] = {}
    for name, value in given.items():
        names = [each for each in (name, *table["synonyms"].get(name, ())) if each in parameters]
        if names:
            values[names[0]] = value
    usual = table["usual"]
    if "body" in given and "body" not in parameters:
        needed = [
            name
            for name, each in parameters.items()
            if name not in values and each.default is inspect.Parameter.empty
        ]
        values[([name for name in needed if name not in usual] or needed)[-1]] = given["body"]
    for name, parameter in parameters.items():
        if name in values or parameter.default is not inspect.Parameter.empty:
            continue
        if name in usual:
            values[name] = usual[name]
        else:
            raise BadLine(f"needs {name}: {parameter.annotation}")
    unused = [
        name for name in given if name not in parameters and name != "body" and name not in table["synonyms"]
    ]
    if unused:
        raise BadLine(f"has no parameter {unused}, but {list(parameters)}")
    hints = {name: each.annotation for name, each in parameters.items()}
    taken = {name: typed(hints[name], filled(value, kept)) for name, value in values.items()}
    if "_request_timeout" in inspect.signature(method).parameters:
        taken["_request_timeout"] = TIMEOUT_SECONDS
    return taken


class Driver:
    """All calls of a table, one after another, and what was kept of their answers."""

    def __init__(self, table: Mapping[str, Any], apis: Mapping[str, Any]) -> None:
        self._table = table
        self._apis = apis
        self._kept: dict[str, Any] = dict(table["usual"])
        self.loose: list[str] = []

    def line(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """One line; says how it ended: `ok`, the status of the error, or what went wrong in the client."""
        group, _, name = line["call"].partition(".")
        method = getattr(self._apis[group], name)
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            outcome = self._call(method, line)
            if "until" not in line or time.monotonic() > ends:
                return outcome
            if outcome["outcome"] == "ok" and not outcome["differs"]:
                return outcome
            time.sleep(PAUSE_SECONDS)

    def _call(self, method: Callable[..., Any], line: Mapping[str, Any]) -> dict[str, Any]:
        self.loose.clear()
        try:
            if "not_served" in line:
                given = {
                    name: anything(each.annotation)
                    for name, each in inspect.signature(method).parameters.items()
                    if name != "self" and not name.startswith("_") and each.default is inspect.Parameter.empty
                }
            else:
                given = arguments(method, line.get("with", {}), self._table, self._kept)
            answer = method(**given)
            if isinstance(answer, Iterator):
                stream, answer = answer, list(itertools.islice(answer, 1))
                self.loose.clear()  # the first event only opens the stream
                answer = list(itertools.islice(stream, 1)) or answer
                stream.close()  # type: ignore[attr-defined]  # the clients give generators
        except Exception as error:  # whatever the client raises is what the line is about
            status = getattr(error, "status", None)
            said = f"{type(error).__name__}: {getattr(error, 'body', None) or error}"
            return {"outcome": status or "raised", "said": said[:1500], "differs": []}
        body = plain(answer)
        for name, path in line.get("keep", {}).items():
            if (found := inside(body, path)) is not None:
                self._kept[name] = found
        wanted = filled({**line.get("gives", {}), **line.get("until", {})}, self._kept)
        differs = [
            f"{path} is {inside(body, path)!r}, not {value!r}"
            for path, value in wanted.items()
            if inside(body, path) != value
        ]
        return {"outcome": "ok", "said": json.dumps(body)[:600], "differs": differs, "loose": self.loose[:]}


def anything(annotation: Any) -> Any:
    """Some value of a type, for a call that nobody is going to answer."""
    kind: Any = annotation
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return anything(typing.get_args(annotation)[0])
    if origin is typing.Union or origin is types.UnionType:
        return anything(typing.get_args(annotation)[0])
    if origin is list:
        return [anything(each) for each in typing.get_args(annotation)[:1]]
    if origin is dict or annotation is dict:
        return {}
    if annotation in (int, bool, float):
        return annotation(1)
    if annotation is datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)
    if annotation is bytes:
        return b"none"
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return next(iter(annotation))
    if inspect.isclass(annotation) and hasattr(annotation, "model_construct"):
        return kind.model_construct(**dict.fromkeys(kind.model_fields))
    return "none"


def watch(loose: list[str]) -> None:
    """Note where version 1.3.1 and later make a model of an answer that does not fit it, silently."""
    try:
        base = importlib.import_module("kestrapy.base_api").BaseApi
    except ModuleNotFoundError:
        return
    construct = base._construct_model

    def noted(data: dict[str, Any], model: Any) -> Any:
        try:
            model.from_dict(data)
        except Exception as error:
            loose.append(f"{model.__name__}: {error}"[:1500])
        return construct(data, model)

    base._construct_model = staticmethod(noted)


def main(table_file: str, address: str, username: str, password: str) -> None:
    """Go through the table and print the report."""
    table = yaml.safe_load(Path(table_file).read_text())
    known = classes()
    apis = {name: connect(each, address, username, password) for name, each in known.items()}
    driver = Driver(table, apis)
    watch(driver.loose)
    has = {f"{name}.{method}" for name, each in known.items() for method in methods(each)}
    named = {line["call"] for line in table["calls"]}
    results = []
    for number, line in enumerate(table["calls"]):
        calls = [line["call"]] if line["call"] in has else []
        if line["call"].endswith(".*"):
            calls = sorted(each for each in has - named if each.startswith(line["call"][:-1]))
        results += [{"line": number, "call": call, **driver.line({**line, "call": call})} for call in calls]
    sys.stdout.write(json.dumps({"methods": sorted(has), "results": results}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.path[:0] = sys.argv[1].split(":")
    main(*sys.argv[2:6])
