"""Putting settings together: leaves of all sources go in, typed groups and warnings come out, or one error
with every problem found.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

from flowtide.errors import SettingsError
from flowtide.settings import foreign, sources
from flowtide.settings.fields import OTHER_ROOTS, Setting
from flowtide.settings.placeholders import PlaceholderError, resolve
from flowtide.settings.sources import KeyPath, Leaf, flatten
from flowtide.settings.systems import QueueType, RepositoryType
from flowtide.settings.table import Table
from flowtide.settings.values import read_value, show_value

_JAVA_OPTION = re.compile(r"-D([\w.]+)=(\S+)")
# what Kubernetes sets in every container for a service of the name flowtide or kestra
_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_\d|$)")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What came of loading: the values of the table's groups, and what a person should be told."""

    values: Mapping[str, Any]
    warnings: tuple[str, ...]
    files: tuple[Path, ...]


class _Loader:
    """Works through the leaves once; collects problems and warnings on the way."""

    def __init__(self, leaves: Mapping[KeyPath, Leaf], environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.leaves = {path: self._resolved(path, leaf, leaves) for path, leaf in leaves.items()}

    def _resolved(self, path: KeyPath, leaf: Leaf, leaves: Mapping[KeyPath, Leaf]) -> Leaf:
        def lookup(name: str) -> Any:
            wanted = next((found for found, _ in flatten({name: ""}, "")), None)
            if wanted is None:
                return None
            wanted = sources.primary(wanted)
            if wanted in leaves:
                return leaves[wanted].value
            found = sources.match(wanted)
            if found is None or found.setting.shape != "values" or "*" in found.segments:
                return None
            return show_value(found.setting.default, found.setting.unit) or None

        try:
            return Leaf(value=resolve(leaf.value, self.environment, lookup), origin=leaf.origin)
        except PlaceholderError as error:
            self.problems.append(f"`{'.'.join(path)}` in {leaf.origin}: {error}")
            return Leaf(value=None, origin=leaf.origin)

    def value(self, setting: Setting) -> Any:
        """The typed value of one setting, its default where nothing was given."""
        path = tuple(setting.keys[0].split("."))
        if setting.shape == "values" and "*" not in path:
            leaf = self.leaves.get(path)
            if leaf is None or leaf.value is None:
                return setting.default
            return self._read(leaf, path, setting, setting.annotation)
        return self._map(setting)

    def _read(self, leaf: Leaf, path: KeyPath, setting: Setting, annotation: Any) -> Any:
        try:
            return read_value(leaf.value, annotation, setting.unit)
        except ValueError as error:
            found = "" if setting.secret else f", found {leaf.value!r}"
            self.problems.append(f"`{'.'.join(path)}` in {leaf.origin}: expected {error}{found}")
            return setting.default

    def _map(self, setting: Setting) -> Mapping[str, Any]:
        result: dict[str, Any] = {}
        for path, leaf in self.leaves.items():
            found = sources.match(path)
            if found is None or found.setting.path != setting.path:
                continue
            annotation = get_args(setting.annotation)[1]
            if setting.shape != "tree" and "*" in found.segments and setting.shape == "verbatim":
                annotation = get_args(annotation)[1]
            value = leaf.value if setting.shape == "tree" else self._read(leaf, path, setting, annotation)
            star = found.segments.index("*") if "*" in found.segments else None
            names = [] if star is None else [path[star]]
            names += path[len(found.segments) :]
            node = result
            for name in names[:-1]:
                node = node.setdefault(name, {})
                if not isinstance(node, dict):
                    self.problems.append(
                        f"`{'.'.join(path)}` in {leaf.origin}: {name} has a value of its own already"
                    )
                    break
            else:
                node[names[-1]] = value
        return MappingProxyType(result)

    def group(
        self, group: type[Any], path: tuple[str, ...], by_path: Mapping[tuple[str, ...], Setting]
    ) -> Any:
        """An instance of a group class with all its settings read."""
        return group(**self.fields(group, path, by_path))

    def fields(
        self, group: type[Any], path: tuple[str, ...], by_path: Mapping[tuple[str, ...], Setting]
    ) -> dict[str, Any]:
        """The values of a group's fields by name."""
        hints = get_type_hints(group)
        return {
            field.name: self.value(by_path[(*path, field.name)])
            if (*path, field.name) in by_path
            else self.group(hints[field.name], (*path, field.name), by_path)
            for field in dataclasses.fields(group)
            if "setting" in field.metadata or dataclasses.is_dataclass(hints[field.name])
        }

    def deprecated(self) -> None:
        """Keys that still work and have a better successor (F06)."""
        leaf = self.leaves.get(("flowtide", "tasks", "scripts", "docker", "volume-enabled"))
        if leaf is not None:
            self.warnings.append(
                f"`flowtide.tasks.scripts.docker.volume-enabled` in {leaf.origin} is deprecated; use the plugin "
                "configuration `volume-enabled` of io.kestra.plugin.scripts.runner.docker.Docker instead"
            )

    def types(self) -> None:
        """Other names for the embedded engine, and types that there are not."""
        for kind in ("queue", "repository"):
            path = ("flowtide", kind, "type")
            leaf = self.leaves.get(path)
            if leaf is None:
                continue
            name = str(leaf.value).strip().lower()
            if name in foreign.TYPE_ALIASES:
                alias = foreign.TYPE_ALIASES[name]
                self.warnings.append(
                    f"`{'.'.join(path)}: {name}` in {leaf.origin} is read as `{alias}`; write that instead"
                )
                self.leaves[path] = Leaf(value=foreign.TYPE_ALIASES[name], origin=leaf.origin)
            elif name in foreign.TYPES_REFUSED:
                self.problems.append(
                    f"`{'.'.join(path)}` in {leaf.origin}: there is no type {name}; "
                    f"use {foreign.TYPES_REFUSED[name]}"
                )
                del self.leaves[path]

    def unknown(self) -> None:
        """Warnings for keys that mean nothing, errors for those that must not be passed over."""
        known = sorted({key for setting in sources.all_settings() for key in setting.keys})
        for path, leaf in self.leaves.items():
            key = ".".join(path)
            if sources.match(path) is not None:
                later = _reason(foreign.PLANNED, key)
                if later is not None:
                    self.warnings.append(f"`{key}` in {leaf.origin} has no effect in this version: {later}")
                continue
            if key in foreign.REFUSED:
                if str(leaf.value).strip().lower() == "true":
                    self.problems.append(f"`{key}` in {leaf.origin}: {foreign.REFUSED[key]}")
                continue
            below = [name for name in known if name.startswith(key + ".")]
            if below:
                names = ", ".join(sorted({name[len(key) + 1 :].split(".")[0] for name in below}))
                self.problems.append(
                    f"`{key}` in {leaf.origin}: expected a group of settings ({names}), found a value"
                )
                continue
            reason = _reason(foreign.NO_EFFECT, key)
            if reason is not None:
                self.warnings.append(f"`{key}` in {leaf.origin} has no effect: {reason}")
                continue
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            hint = f"; the nearest one is `{near[0]}`" if near else ""
            self.warnings.append(f"`{key}` in {leaf.origin} is no setting and has no effect{hint}")

    def where(self, key: str) -> str:
        """How an error names a setting: with its origin where it was given."""
        leaf = self.leaves.get(tuple(key.split(".")))
        return f"`{key}` in {leaf.origin}" if leaf is not None else f"`{key}`"


def _reason(table: Mapping[str, str], key: str) -> str | None:
    """What a table of keys says of a key, or of one that it stands below."""
    return next((why for name, why in table.items() if key == name or key.startswith(name + ".")), None)


def _override_leaves(overrides: Mapping[str, Any]) -> dict[KeyPath, Leaf]:
    leaves: dict[KeyPath, Leaf] = {}
    for key, value in overrides.items():
        if value is None:
            continue
        rooted = key.split(".", 1)[0] in ("flowtide", "kestra", *OTHER_ROOTS)
        full = key if rooted else f"flowtide.{key}"
        for path, leaf in flatten({full: value}, "the command line"):
            if sources.match(path) is None:
                raise SettingsError([f"`{key}` on the command line is no setting"])
            leaves[sources.primary(path)] = leaf
    return leaves


def _java_options(loader: _Loader, environment: Mapping[str, str]) -> str | None:
    timezone = None
    for variable in ("KESTRA_JAVA_OPTS", "JAVA_OPTS"):
        for name, value in _JAVA_OPTION.findall(environment.get(variable, "")):
            if name == "user.timezone":
                timezone = value.strip("'\"")
            elif name in foreign.JAVA_OPTIONS:
                loader.warnings.append(f"-D{name} in {variable} has no effect: {foreign.JAVA_OPTIONS[name]}")
    return timezone


def _unknown_variables(loader: _Loader, names: Sequence[str]) -> None:
    exact = sources.variable_names()
    for name in names:
        if _KUBERNETES.search(name):
            continue
        ours = "FLOWTIDE_" + name[7:] if name.startswith("KESTRA_") else name
        near = difflib.get_close_matches(ours, exact, n=1, cutoff=0.9) if ours.startswith("FLOWTIDE_") else []
        if (
            near
        ):  # an orchestrator sets many variables that begin like ours; only a likely slip is worth a word
            loader.warnings.append(f"environment variable {name} is no setting; did you mean {near[0]}?")


def _constraints(table: Table, loader: _Loader) -> None:
    problems = loader.problems
    liveness = table.server.liveness
    if liveness.enabled and liveness.heartbeat_interval >= liveness.timeout:
        problems.append(
            f"{loader.where('flowtide.server.liveness.heartbeat-interval')} "
            f"({show_value(liveness.heartbeat_interval)}) must be shorter than "
            f"`flowtide.server.liveness.timeout` ({show_value(liveness.timeout)})"
        )
    kafka = table.queue.type is QueueType.KAFKA
    elastic = table.repository.type is RepositoryType.ELASTICSEARCH
    if kafka and not elastic:
        problems.append(
            f"{loader.where('flowtide.queue.type')}: the Kafka queue needs "
            "`flowtide.repository.type: elasticsearch`; "
            "the embedded index is a file of one machine, which services elsewhere cannot see"
        )
    if elastic and not kafka:
        problems.append(
            f"{loader.where('flowtide.repository.type')}: the Elasticsearch repository needs "
            "`flowtide.queue.type: kafka`"
        )
    if kafka and not table.kafka.client_properties.get("bootstrap.servers"):
        problems.append(
            '`flowtide.kafka.client.properties` must give `bootstrap.servers` (such as "localhost:9092")'
        )
    if elastic and not table.elasticsearch.hosts:
        problems.append(
            '`flowtide.elasticsearch.client.http-hosts` must give an address (such as "http://localhost:9200")'
        )
    name = table.server.basic_auth.username
    if name is not None and not _EMAIL.fullmatch(name):
        problems.append(f"{loader.where('flowtide.server.basic-auth.username')}: expected an e-mail address")
    for key, port in (
        ("flowtide.server.port", table.server.port),
        ("endpoints.all.port", table.management.port),
    ):
        if not 0 <= port <= 65535:
            problems.append(
                f"{loader.where(key)}: expected a port from 0 (any free one) to 65535, found {port}"
            )
    positive = {
        "flowtide.indexer.batch-size": table.indexer.batch_size,
        "flowtide.kafka.defaults.topic.partitions": table.kafka.topic_partitions,
        "flowtide.kafka.defaults.topic.replication-factor": table.kafka.topic_replication_factor,
        "flowtide.worker.threads": table.worker.threads,
        "flowtide.retries.attempts": table.retries.attempts,
    }
    for key, number in positive.items():
        if number < 1:
            problems.append(f"{loader.where(key)}: expected a number above 0, found {number}")
    if table.retries.multiplier < 1 or table.retries.delay < timedelta(0):
        problems.append(f"{loader.where('flowtide.retries.multiplier')}: expected a number of at least 1")
    if table.otel.exporter not in ("otlp", "none"):
        problems.append(
            f"{loader.where('otel.traces.exporter')}: expected otlp or none, found {table.otel.exporter!r}"
        )


def load(
    files: Sequence[Path], environment: Mapping[str, str], overrides: Mapping[str, Any], cores: int
) -> Loaded:
    """Read, merge, resolve and check everything. Raises SettingsError with all problems at once."""
    files = tuple(files) or sources.default_files(environment)
    leaves = sources.read_files(files)
    leaves.update(sources.read_documents(environment))
    variables, unknown = sources.read_variables(environment)
    leaves.update(variables)
    leaves.update(_override_leaves(overrides))

    loader = _Loader(leaves, environment)
    loader.types()
    loader.deprecated()
    loader.unknown()
    _unknown_variables(loader, unknown)
    by_path = {setting.path: setting for setting in sources.all_settings()}
    values = loader.fields(Table, (), by_path)

    home = environment.get("HOME") or environment.get("USERPROFILE")
    data_path = values["data_path"]
    if data_path.parts[:1] == ("~",) and home:
        data_path = Path(home, *data_path.parts[1:])
    values["data_path"] = data_path
    local = values["storage"].local
    if local.base_path is None:
        local = dataclasses.replace(local, base_path=data_path / "storage")
        values["storage"] = dataclasses.replace(values["storage"], local=local)
    if ("flowtide", "worker", "threads") not in loader.leaves:
        values["worker"] = dataclasses.replace(values["worker"], threads=8 * max(cores, 1))
    path = values["server"].context_path.strip("/")
    values["server"] = dataclasses.replace(values["server"], context_path=f"/{path}" if path else "")
    java_timezone = _java_options(loader, environment)
    values["timezone"] = values["timezone"] or environment.get("TZ", "").lstrip(":") or java_timezone or None

    if not loader.problems:
        _constraints(Table(**values), loader)
    if loader.problems:
        raise SettingsError(loader.problems)
    return Loaded(values=values, warnings=tuple(loader.warnings), files=files)
