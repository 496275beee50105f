"""The files of `topics/` and their reader."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flowtide.log.topics import load_topics, read_topic

_GOOD = """
name: things
description: Why, who writes, who reads.
key: "{tenant}/{thing}"
partitions: default
cleanup: delete
retention: 7d
schema: things
history:
  - "0.1: created"
"""


def test_every_topic_of_the_architecture_is_described() -> None:
    """The set of topics is pinned; a new one is a decision."""
    topics = load_topics()
    assert list(topics) == [
        "audit_logs",
        "dead_letters",
        "execution_commands",
        "execution_events",
        "execution_state",
        "execution_statistics",
        "flow_commands",
        "flow_state",
        "logs",
        "metrics",
        "own_writes",
        "replies",
        "resource_commands",
        "resource_state",
        "resources",
        "services",
        "trigger_commands",
        "trigger_events",
        "trigger_state",
        "worker_controls",
        "worker_jobs",
    ]
    assert all(topic.history and len(topic.description) > 40 for topic in topics.values())
    compacted = {name for name, topic in topics.items() if topic.cleanup == "compact"}
    assert compacted == {
        "execution_state",
        "flow_state",
        "resource_state",
        "resources",
        "services",
        "trigger_state",
    }
    assert topics["replies"].retention == timedelta(hours=1)
    assert topics["dead_letters"].retention == timedelta(days=30)


@pytest.mark.parametrize("processor", ["execution", "flow", "trigger", "resource"])
def test_state_has_the_partitions_of_its_input(processor: str) -> None:
    """A changelog's partition has the number of its input's, so both have as many."""
    topics = load_topics()
    assert topics[f"{processor}_state"].partitions == topics[f"{processor}_commands"].partitions


def test_a_file_becomes_a_topic() -> None:
    """All fields are read; the retention is a duration."""
    topic = read_topic("things.yaml", _GOOD)
    assert (topic.name, topic.partitions, topic.retention) == ("things", "default", timedelta(days=7))
    assert topic.history == ("0.1: created",)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("retention: 7d", "retention: long", "retention is a number"),
        ("retention: 7d", "retention: forever", "topics that delete have a retention"),
        ("cleanup: delete", "cleanup: compact", "compacted ones keep forever"),
        ("cleanup: delete", "cleanup: shred", "cleanup"),
        ("partitions: default", "partitions: 0", "at least one partition"),
        ("partitions: default", "partitions: many", "partitions"),
        ("name: things", "name: others", "named after its topic"),
        ("schema: things", "scheme: things", "scheme"),
        ("name: things", "name: [", "things.yaml"),
    ],
)
def test_a_wrong_file_is_refused_by_name(old: str, new: str, text: str) -> None:
    """The error names the file and what is wrong in it."""
    with pytest.raises(ValueError, match=r"things\.yaml") as raised:
        read_topic("things.yaml", _GOOD.replace(old, new))
    assert text in str(raised.value)
