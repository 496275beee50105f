"""What the engine is told of a container: rendered properties and a command come in, its description goes out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from flowtide.errors import TaskFailed
from flowtide.model.runner import RunnerCommand
from flowtide.plugins.runners.docker.labels import labels
from flowtide.plugins.runners.docker.properties import size_bytes, truth

_NANO: Final = 1_000_000_000  # the engine counts processors in billionths
_LONGEST_NAME_CHARACTERS: Final = 63
_PORT: Final = re.compile(r"(?:(?P<address>[^/]+):)?(?P<host>\d*):(?P<inside>\d+)(?:/(?P<protocol>tcp|udp))?")


def describe(
    given: Mapping[str, Any], command: RunnerCommand, *, image: str, detached: bool
) -> dict[str, Any]:
    """The engine's description of the container.  Raises TaskFailed naming a property that cannot be read."""
    directory = str(command.working_directory)
    host: dict[str, Any] = {**_limits(given)}
    binds = list(given.get("volumes") or [])
    strategy = given["fileHandlingStrategy"]
    described: dict[str, Any] = {
        "Image": image,
        "Cmd": list(command.arguments),
        "Entrypoint": given.get("entryPoint") or [""],
        "Env": [f"{name}={value}" for name, value in command.environment.items()],
        "WorkingDir": directory,
        "Labels": labels(command.labels, detached=detached, kept=not truth(given["delete"])),
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": host,
    }
    if strategy == "VOLUME":
        described["Volumes"] = {directory: {}}
    elif strategy == "MOUNT":
        binds.append(f"{directory}:{directory}:rw")
        binds.extend(f"{folder}:{folder}:ro" for folder in command.folders)
    else:
        raise TaskFailed(
            f"property `taskRunner.fileHandlingStrategy`: {strategy!r} is neither VOLUME nor MOUNT"
        )
    if binds:
        host["Binds"] = binds
    if detached and truth(given["delete"]):
        host["AutoRemove"] = True  # nobody else will
    if "user" in given:
        described["User"] = given["user"]
    if given.get("portBindings"):
        bindings = _ports(given["portBindings"])
        described["ExposedPorts"] = {inside: {} for inside in bindings}
        host["PortBindings"] = bindings
    return described


def container_name(names: Mapping[str, str]) -> str:
    """A name for people: namespace, flow and task, and something random (K10)."""
    words = "-".join(names.get(each, "") for each in ("namespace", "flow-id", "task-id"))
    plain = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[: _LONGEST_NAME_CHARACTERS - 9]
    return f"{plain or 'task'}-{uuid4().hex[:8]}"


def _limits(given: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the engine's `HostConfig`."""
    limits: dict[str, Any] = {}
    plain = {
        "extraHosts": "ExtraHosts",
        "networkMode": "NetworkMode",
        "capAdd": "CapAdd",
        "capDrop": "CapDrop",
    }
    for name, theirs in plain.items():
        if given.get(name):
            limits[theirs] = given[name]
    if "privileged" in given:
        limits["Privileged"] = truth(given["privileged"])
    if "shmSize" in given:
        limits["ShmSize"] = size_bytes(given["shmSize"], "shmSize")
    cpu = given.get("cpu")
    if cpu is not None:
        try:
            limits["NanoCpus"] = round(float(cpu["cpus"]) * _NANO)
        except ValueError:
            raise TaskFailed(f"property `taskRunner.cpu.cpus`: {cpu['cpus']!r} is no number") from None
    limits |= _memory(given.get("memory") or {})
    if given.get("deviceRequests"):
        limits["DeviceRequests"] = [_device(each) for each in given["deviceRequests"]]
    return limits


def _memory(memory: Mapping[str, Any]) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    sizes = {
        "memory": "Memory",
        "memorySwap": "MemorySwap",
        "memoryReservation": "MemoryReservation",
        "kernelMemory": "KernelMemory",
    }
    for name, theirs in sizes.items():
        if name in memory:
            unlimited = name == "memorySwap" and str(memory[name]).strip() == "-1"
            limits[theirs] = -1 if unlimited else size_bytes(memory[name], f"memory.{name}")
    if "memorySwappiness" in memory:
        try:
            limits["MemorySwappiness"] = int(memory["memorySwappiness"])
        except ValueError:
            raise TaskFailed("property `taskRunner.memory.memorySwappiness`: must be 0 to 100") from None
    if "oomKillDisable" in memory:
        limits["OomKillDisable"] = truth(memory["oomKillDisable"])
    return limits


def _device(request: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "driver": "Driver",
        "count": "Count",
        "deviceIds": "DeviceIDs",
        "capabilities": "Capabilities",
        "options": "Options",
    }
    return {theirs: request[name] for name, theirs in names.items() if name in request}


def _ports(bindings: list[str]) -> dict[str, list[dict[str, str]]]:
    ports: dict[str, list[dict[str, str]]] = {}
    for text in bindings:
        match = _PORT.fullmatch(text.strip())
        if match is None:
            raise TaskFailed(f"property `taskRunner.portBindings`: {text!r} is not like 8080:80")
        binding = {"HostPort": match["host"], **({"HostIp": match["address"]} if match["address"] else {})}
        ports.setdefault(f"{match['inside']}/{match['protocol'] or 'tcp'}", []).append(binding)
    return ports
