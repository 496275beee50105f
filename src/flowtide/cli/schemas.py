"""The schemas of the repository: record types, plugin classes and topics in, the files of `schemas/` out.

`python -m flowtide.cli.schemas` writes them, with `--check` it only says which ones differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from flowtide import __version__
from flowtide.log.topics import Topic, load_topics
from flowtide.model.audit import AuditEntry
from flowtide.model.commands import ExecutionCommand
from flowtide.model.dead_letters import DeadLetter
from flowtide.model.entries import LogEntry, MetricEntry
from flowtide.model.events import ExecutionEvent
from flowtide.model.flow_commands import FlowCommand
from flowtide.model.jobs import Control, Job
from flowtide.model.own_writes import OwnWrite
from flowtide.model.plugin import Registry
from flowtide.model.resources import Resource, ResourceCommand, ResourceReply
from flowtide.model.services import ServiceInstance
from flowtide.model.statistics import ExecutionStatistics
from flowtide.model.trigger_records import TriggerCommand, TriggerState
from flowtide.services.plugin_schemas import dashboard_schema, flow_schema
from flowtide.services.plugins import discover_plugins

# The record types of each topic, by the name that the topic's file gives its schema.
RECORDS: Mapping[str, Any] = {
    "audit_logs": AuditEntry,
    "dead_letters": DeadLetter,
    "execution_commands": ExecutionCommand,
    "execution_events": ExecutionEvent,
    "execution_statistics": ExecutionStatistics,
    "flow_commands": FlowCommand,
    "logs": LogEntry,
    "metrics": MetricEntry,
    "own_writes": OwnWrite,
    "replies": ResourceReply,
    "resource_commands": ResourceCommand,
    "resources": Resource,
    "services": ServiceInstance,
    "trigger_commands": TriggerCommand,
    "trigger_events": TriggerState,
    "worker_controls": Control,
    "worker_jobs": Job,
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FOLDER = Path(__file__).parents[3] / "schemas"


def build_schemas(registry: Registry, topics: Mapping[str, Topic]) -> dict[str, str]:
    """The content of every file below `schemas/`, by its path there.

    Raises ValueError when a topic names a schema that is not made here, or a record type has no topic.
    """
    files = {f"records/{name}.json": _json(record_schema(name)) for name in sorted(RECORDS)}
    files["flows/flow.json"] = _json(flow_schema(registry))
    files["dashboards/dashboard.json"] = _json(dashboard_schema(registry))
    files["asyncapi.yaml"] = yaml.safe_dump(asyncapi(topics), sort_keys=False, width=110, allow_unicode=True)
    return files


def record_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a topic's records."""
    schema = msgspec.json.schema(RECORDS[name])
    return {"$schema": _DIALECT, "title": name, **schema}


def asyncapi(topics: Mapping[str, Topic]) -> dict[str, Any]:
    """The log as a contract: a channel per topic that others may read.

    Raises ValueError when topics and record types do not belong together.
    """
    shared = {name: topic for name, topic in topics.items() if topic.schema in RECORDS}
    missing = sorted(set(RECORDS) - {topic.schema for topic in shared.values()})
    if missing:
        raise ValueError(f"no topic has the records {', '.join(missing)}: name them in topics/")
    wrong = sorted(name for name, topic in topics.items() if name not in shared and " " not in topic.schema)
    if wrong:
        raise ValueError(
            f"there is no schema for the topics {', '.join(wrong)}: add it to flowtide.cli.schemas"
        )
    channels = {}
    operations = {}
    for name, topic in sorted(shared.items()):
        channels[name] = {
            "address": name,
            "description": topic.description,
            "messages": {"record": {"payload": {"$ref": f"records/{topic.schema}.json"}}},
            "x-key": topic.key,
            "bindings": {"kafka": _kafka(topic)},
        }
        operations[f"read_{name}"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"#/channels/{name}/messages/record"}],
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "The log of Flowtide",
            "version": __version__,
            "description": "Topics and records; names get the configured prefix. Generated, see `make schemas`.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the schemas, or with `--check` name those that differ and give 1."""
    parser = argparse.ArgumentParser(prog="python -m flowtide.cli.schemas", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, give 1 when a file differs")
    parser.add_argument("--folder", type=Path, default=_FOLDER, help="where the schemas are")
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    files = build_schemas(discover_plugins(), load_topics())
    different = differences(folder, files)
    if options.check:
        for name in different:
            print(f"{folder / name} differs from the code; `make schemas` writes it anew")
        return 1 if different else 0
    for name in different:
        path = folder / name
        if name in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name], encoding="utf-8")
        else:
            path.unlink()
    return 0


def differences(folder: Path, files: Mapping[str, str]) -> list[str]:
    """The paths below `folder` whose content is not that of `files`, superfluous ones included."""
    known = {
        path.relative_to(folder).as_posix()
        for pattern in ("records/*.json", "flows/*.json", "dashboards/*.json", "asyncapi.yaml")
        for path in folder.glob(pattern)
    }
    changed = {
        name
        for name, content in files.items()
        if name not in known or (folder / name).read_text(encoding="utf-8") != content
    }
    return sorted(changed | (known - set(files)))


def _kafka(topic: Topic) -> dict[str, Any]:
    configuration: dict[str, Any] = {"cleanup.policy": [topic.cleanup]}
    if topic.retention is not None:
        configuration["retention.ms"] = int(topic.retention.total_seconds() * 1000)
    binding: dict[str, Any] = {"topicConfiguration": configuration}
    if isinstance(topic.partitions, int):
        binding["partitions"] = topic.partitions
    return binding


def _json(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
