"""Topics as data: reads the files of `topics/`, one per topic, into frozen values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import msgspec
import yaml

_SOURCE_FOLDER = Path(__file__).parents[3] / "topics"  # in a checkout; a wheel carries the files inside
_RETENTION = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Topic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One topic as its file describes it."""

    name: str  # without prefix
    description: str  # why it exists, who writes, who reads
    key: str  # the pattern of its keys, e.g. "{tenant}/{execution}"
    partitions: int | Literal["default"]  # "default": the configured number, so that keyed topics agree
    cleanup: Literal["delete", "compact"]
    retention: timedelta | None  # None: forever (compacted topics)
    schema: str  # the record schema in `schemas/records/`, or a sentence for state topics
    history: tuple[str, ...] = ()  # what changed, "VERSION: what and why", oldest first


@cache
def load_topics() -> Mapping[str, Topic]:
    """All topics by name, in the order of their names.

    Raises ValueError with the file's name when one of them does not describe a topic.
    """
    packaged = files("flowtide").joinpath("_data", "topics")
    folder: Traversable = packaged if packaged.is_dir() else _SOURCE_FOLDER
    topics = [
        read_topic(file.name, file.read_text(encoding="utf-8"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    ]
    return MappingProxyType({topic.name: topic for topic in topics})


def read_topic(file_name: str, text: str) -> Topic:
    """Read one topic's file.  Raises ValueError with the file's name and what is wrong in it."""
    try:
        document: dict[str, Any] = msgspec.convert(yaml.safe_load(text), dict[str, Any])
        topic = msgspec.convert({**document, "retention": _retention(document.get("retention"))}, Topic)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{file_name} does not describe a topic: {error}") from error
    if file_name != f"{topic.name}.yaml":
        raise ValueError(f"{file_name} describes the topic {topic.name}; a file is named after its topic")
    if isinstance(topic.partitions, int) and topic.partitions < 1:
        raise ValueError(f"{file_name}: a topic has at least one partition")
    if (topic.retention is None) != (topic.cleanup == "compact"):
        raise ValueError(f"{file_name}: topics that delete have a retention, compacted ones keep forever")
    return topic


def _retention(text: object) -> timedelta | None:
    if text == "forever":
        return None
    match = _RETENTION.fullmatch(str(text))
    if match is None:
        raise ValueError(f"retention is a number and one of s, m, h, d, or forever; not {text!r}")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
