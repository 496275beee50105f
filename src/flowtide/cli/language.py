"""The pages of the flow language: the classes in, docs/reference/language out (`make docs`).

One page for the flow, its inputs, triggers, conditions and runners, for dashboards, and for the tasks of each package.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from flowtide import __version__
from flowtide.model.dashboards.dashboard import Dashboard
from flowtide.model.flow import (
    AssertionSla,
    Check,
    Concurrency,
    Flow,
    MaxDurationSla,
    Output,
    PluginDefault,
)
from flowtide.model.listeners import Listener
from flowtide.model.plugin import Part, PluginKind, Registry
from flowtide.model.retry import ConstantRetry, ExponentialRetry, RandomRetry
from flowtide.model.task import FlowableTask, Task, TaskCache, WorkerGroup
from flowtide.model.trigger import Trigger
from flowtide.services.plugin_docs import PluginCatalogue, group_of, markdown, package_of, property_table
from flowtide.services.plugins import discover_plugins

_MADE: Final = "This page is made from the classes themselves (`make docs`).\n"
_LEGEND: Final = (
    "In the tables, *dynamic* means that a template may stand there; a property without *required* may be "
    "left out.\n"
)
_PARTS: Final[tuple[tuple[str, type[Part]], ...]] = (
    ("Outputs: `outputs[]`", Output),
    ("Plugin defaults: `pluginDefaults[]`", PluginDefault),
    ("Concurrency: `concurrency`", Concurrency),
    ("Agreements: `sla[]` of type MAX_DURATION", MaxDurationSla),
    ("Agreements: `sla[]` of type EXECUTION_ASSERTION", AssertionSla),
    ("Checks: `checks[]`", Check),
    ("Retries: `retry` of type constant", ConstantRetry),
    ("Retries: `retry` of type exponential", ExponentialRetry),
    ("Retries: `retry` of type random", RandomRetry),
    ("Worker groups: `workerGroup`", WorkerGroup),
    ("Caches of tasks: `taskCache`", TaskCache),
    ("Listeners (deprecated): `listeners[]`", Listener),
)


def pages(registry: Registry) -> dict[str, str]:
    """The content of every page by its file name."""
    files = {
        "flow.md": _flow(),
        "inputs.md": _inputs(registry),
        "triggers.md": _of_kind(
            registry, "trigger", "Triggers", Trigger, "Every trigger has these properties:"
        ),
        "conditions.md": _of_kind(
            registry, "condition", "Conditions", None, "A condition stands in `conditions` of a trigger."
        ),
        "runners.md": _of_kind(
            registry, "runner", "Task runners", None, "A runner stands in `taskRunner` of a script."
        ),
    }
    files["dashboards.md"] = _dashboards(registry)
    groups: dict[str, list[str]] = {}
    for name in registry.names("task"):
        place = group_of(name) if ".scripts." in name else package_of(name)
        groups.setdefault(place.removeprefix("io.kestra.plugin."), []).append(name)
    for group, names in groups.items():
        found = [(name, registry.find("task", name)) for name in names if "$" not in name]
        texts = [markdown("task", name, plugin, level=2) for name, plugin in found if plugin is not None]
        common = "What every task has stands on the page of [the flow](flow.md).\n"
        opening = f"# Tasks: {group}\n\n{_MADE}{_LEGEND}\n{common}"
        files[f"tasks-{group}.md"] = "\n".join([opening, *texts])
    files["README.md"] = _contents(files)
    return files


def _contents(files: Mapping[str, str]) -> str:
    lines = [
        f"- [{text.partition(chr(10))[0].removeprefix('# ')}]({name})" for name, text in sorted(files.items())
    ]
    return f"# The flow language\n\n{_MADE}\n" + "\n".join(lines) + "\n"


def _flow() -> str:
    flowable = property_table(FlowableTask, without=frozenset(Task.model_fields))
    parts = [
        f"# The flow\n\n{_MADE}{_LEGEND}",
        property_table(Flow),
        f"## Every task\n\n{property_table(Task)}",
        f"## Every flowable task, beside that\n\n{flowable}",
    ]
    parts += [
        f"## {heading}\n\n{(part.__doc__ or '').strip()}\n\n{property_table(part)}"
        for heading, part in _PARTS
    ]
    return "\n\n".join(parts) + "\n"


def _inputs(registry: Registry) -> str:
    parts = [f"# Inputs\n\n{_MADE}{_LEGEND}"]
    for name, part in PluginCatalogue(registry, __version__).inputs.items():
        parts.append(f"## {name}\n\n{(part.__doc__ or '').strip()}\n\n{property_table(part)}")
    return "\n\n".join(parts) + "\n"


def _dashboards(registry: Registry) -> str:
    kinds: tuple[tuple[PluginKind, str], ...] = (("chart", "Charts"), ("data", "Data of charts"))
    parts = [f"# Dashboards\n\n{_MADE}", property_table(Dashboard, templates=False)]
    for kind, heading in kinds:
        parts.append(f"## {heading}")
        parts += [
            markdown(kind, name, plugin, level=3).strip()
            for name in registry.names(kind)
            if (plugin := registry.find(kind, name)) is not None
        ]
    return "\n\n".join(parts) + "\n"


def _of_kind(registry: Registry, kind: PluginKind, title: str, base: type[Part] | None, opening: str) -> str:
    parts = [f"# {title}\n\n{_MADE}{_LEGEND}", opening]
    if base is not None:
        parts.append(property_table(base))
    for name in registry.names(kind):
        plugin = registry.find(kind, name)
        assert plugin is not None
        parts.append(markdown(kind, name, plugin, level=2).strip())
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Write the pages to the folder that is named, and remove those of types that are gone."""
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    files = pages(discover_plugins())
    for path in folder.glob("*.md"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
