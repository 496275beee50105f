"""What the engine is told of a container, from the runner's properties."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from flowtide.errors import TaskFailed
from flowtide.model.runner import RunnerCommand
from flowtide.plugins.runners.docker.description import container_name, describe
from flowtide.plugins.runners.docker.engine import check_library
from flowtide.plugins.runners.docker.images import login_of_config, registry_of
from flowtide.plugins.runners.docker.labels import is_gone, this_process
from flowtide.plugins.runners.docker.properties import size_bytes
from flowtide.plugins.runners.docker.runner import Docker

COMMAND = RunnerCommand(
    arguments=["/bin/sh", "-c", "true"],
    environment={"A": "b=c"},
    working_directory=Path("/jobs/d"),
    folders=[Path("/packages")],
    labels={"namespace": "company.team", "flow-id": "My_Flow", "task-id": "t" * 80},
)


def _described(*, detached: bool = False, **properties: Any) -> dict[str, Any]:
    given = Docker.model_validate({"type": "x", **properties})
    dumped = given.model_dump(by_alias=True, exclude={"type"}, exclude_none=True)
    return describe(dumped, COMMAND, image="ubuntu", detached=detached)


def test_without_properties_only_what_is_needed_is_said() -> None:
    """DK3: no entry point of the image, the working directory as a volume, the environment of the task."""
    described = _described()
    labels = described.pop("Labels")
    assert described == {
        "Image": "ubuntu",
        "Cmd": ["/bin/sh", "-c", "true"],
        "Entrypoint": [""],
        "Env": ["A=b=c"],
        "WorkingDir": "/jobs/d",
        "Volumes": {"/jobs/d": {}},
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": {},
    }
    assert labels["kestra.io/task-id"] == "t" * 63


def test_every_limit_has_its_place() -> None:
    """DK2, DK3: each property under the engine's name for it."""
    described = _described(
        fileHandlingStrategy="MOUNT",
        entryPoint=["/init"],
        user="1000:1000",
        networkMode="host",
        portBindings=["8080:80", "127.0.0.1:53:53/udp"],
        volumes=["/a:/b:ro"],
        deviceRequests=[{"driver": "nvidia", "count": -1, "capabilities": [["gpu"]], "deviceIds": ["0"]}],
        cpu={"cpus": "1.5"},
        memory={
            "memory": "1GB",
            "memorySwap": "-1",
            "memoryReservation": "512000KB",
            "memorySwappiness": 10,
            "oomKillDisable": "true",
        },
        privileged="true",
        capAdd=["SYS_PTRACE"],
    )
    assert (described["Entrypoint"], described["User"]) == (["/init"], "1000:1000")
    assert described["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert described["HostConfig"] == {
        "Binds": ["/a:/b:ro", "/jobs/d:/jobs/d:rw", "/packages:/packages:ro"],
        "NetworkMode": "host",
        "PortBindings": {
            "80/tcp": [{"HostPort": "8080"}],
            "53/udp": [{"HostPort": "53", "HostIp": "127.0.0.1"}],
        },
        "DeviceRequests": [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]], "DeviceIDs": ["0"]}],
        "NanoCpus": 1_500_000_000,
        "Memory": 1024**3,
        "MemorySwap": -1,
        "MemoryReservation": 512_000 * 1024,
        "MemorySwappiness": 10,
        "OomKillDisable": True,
        "Privileged": True,
        "CapAdd": ["SYS_PTRACE"],
    }


def test_nobody_else_removes_a_detached_container() -> None:
    """DK3: with `wait: false` the engine does, unless it is to be kept."""
    assert _described(detached=True)["HostConfig"] == {"AutoRemove": True}
    assert _described(detached=True, delete=False)["HostConfig"] == {}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MB", 512 * 1024**2),
        ("512mb", 512 * 1024**2),
        ("512000KB", 512_000 * 1024),
        ("0.5GB", 512 * 1024**2),
        ("512Mi", 512 * 1024**2),
        ("1g", 1024**3),
        ("4096", 4096),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """DK5: units of both spellings."""
    assert size_bytes(text, "memory") == size


@pytest.mark.parametrize("text", ["", "much", "-1", "1XB", "1 GB GB"])
def test_what_is_no_size(text: str) -> None:
    """DK5: the property is named."""
    with pytest.raises(TaskFailed, match=r"taskRunner\.shmSize"):
        size_bytes(text, "shmSize")


def test_names_are_for_people_and_never_the_same() -> None:
    """K10: namespace, flow and task as far as there is room."""
    first, second = container_name(COMMAND.labels), container_name(COMMAND.labels)
    assert first.startswith("company-team-my-flow-ttt")
    assert len(first) <= 63
    assert first != second


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("ubuntu", "docker.io"),
        ("team/tool:1", "docker.io"),
        ("docker.io/team/tool", "docker.io"),
        ("ghcr.io/team/tool@sha256:0", "ghcr.io"),
        ("localhost/x", "localhost"),
        ("10.10.1.5:5000/my-image", "10.10.1.5:5000"),
    ],
)
def test_the_registry_of_an_image(image: str, registry: str) -> None:
    """DK10: what stands before the first slash, when it can be a host."""
    assert registry_of(image) == registry


def test_the_login_of_a_configuration_file() -> None:
    """DK3: by the image's registry, whichever way its address is written."""
    config = {
        "auths": {
            "https://index.docker.io/v1/": {"auth": "YWRhOnB3"},
            "ghcr.io": {"username": "bob", "password": "pw"},
        }
    }
    found = login_of_config(config, "team/tool")
    assert found is not None
    assert (found["username"], found["password"]) == ("ada", "pw")
    assert (login_of_config(config, "ghcr.io/x") or {})["username"] == "bob"
    assert login_of_config(config, "quay.io/x") is None


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """DK11: a worker that was installed without the extra says which one, and what else to do."""
    monkeypatch.setitem(sys.modules, "aiodocker", None)
    with pytest.raises(TaskFailed, match=r"flowtide\[docker\].*core\.runner\.Process"):
        check_library()


def test_only_processes_of_this_host_are_judged() -> None:
    """DK9: this one lives; one of this host with another start does not; of another host nothing is known."""
    mine = this_process()
    host, number, _ = mine.split("/")  # the host is one of a start, and of a namespace of process ids
    assert not is_gone(mine)
    assert is_gone(f"{host}/{number}/1")
    assert not is_gone("elsewhere/1/1")
    assert not is_gone("nonsense")
