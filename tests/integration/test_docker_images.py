"""How images come: a real engine fetches from a registry that asks for a login."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiodocker import Docker as Client
from aiodocker import DockerError
from aiohttp import web

from flowtide.errors import TaskFailed
from flowtide.model.entries import Level
from flowtide.plugins.runners.docker.images import ensure_image, login_of_config, login_of_credentials

pytestmark = pytest.mark.docker

LOGIN = base64.b64encode(b"ada:choose").decode()


class _Lines:
    """A task's log that nobody reads."""

    def log(self, level: Level, message: str, *arguments: object) -> None: ...

    error = warn = info = debug = trace = lambda self, message, *arguments: None


class Registry:
    """A registry of one image, behind a login; counts how often the image's description was asked for."""

    def __init__(self) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("empty"))
        layer = gzip.compress(packed.getvalue(), mtime=0)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [_digest(packed.getvalue())]},
                "history": [{"created": "2026-01-01T00:00:00Z"}],
            }
        ).encode()
        self.blobs = {_digest(each): each for each in (layer, config)}
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        self.manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": _described("application/vnd.docker.container.image.v1+json", config),
            "layers": [_described("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
        }
        self.kind = kind
        self.asked = 0
        self.address = ""

    async def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Basic {LOGIN}":
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="test"'})
        kind, _, name = request.path.removeprefix("/v2/team/tool/").partition("/")
        if kind == "manifests":
            self.asked += 1
            body = json.dumps(self.manifest).encode()
            return web.Response(
                body=body, content_type=self.kind, headers={"Docker-Content-Digest": _digest(body)}
            )
        if kind == "blobs" and name in self.blobs:
            return web.Response(body=self.blobs[name])
        return web.Response(status=200 if request.path == "/v2/" else 404)


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    registry = Registry()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", registry.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        registry.address = f"127.0.0.1:{runner.addresses[0][1]}"
        yield registry
    finally:
        await runner.cleanup()


@pytest.fixture
async def engine(docker_address: str) -> AsyncIterator[Client]:
    async with Client(url=docker_address) as client:
        yield client


async def test_a_private_image_is_fetched_as_the_policy_says(engine: Client, registry: Registry) -> None:
    """DK3, DK4: with the login of `credentials` or `config`; IF_NOT_PRESENT once, ALWAYS each time."""
    image = f"{registry.address}/team/tool:1"
    given: list[dict[str, Any]] = [
        {
            "policy": "IF_NOT_PRESENT",
            "login": login_of_credentials({"username": "ada", "password": "choose"}, image),
        },
        {"policy": "IF_NOT_PRESENT", "login": None},
        {"policy": "NEVER", "login": None},
        {
            "policy": "ALWAYS",
            "login": login_of_config(json.dumps({"auths": {registry.address: {"auth": LOGIN}}}), image),
        },
    ]
    try:
        asked = []
        for each in given:
            await ensure_image(engine, image, lines=_Lines(), **each)
            asked.append(registry.asked)
        assert asked[0] >= 1
        assert asked[0] == asked[1] == asked[2] < asked[3]
    finally:
        await engine.images.delete(image, force=True)


async def test_without_the_login_it_is_refused(engine: Client, registry: Registry) -> None:
    """DK3: the failed fetch names the image and what may be missing, and never the password."""
    image = f"{registry.address}/team/tool:2"
    for login in (None, login_of_credentials({"auth": base64.b64encode(b"ada:wrong-one").decode()}, image)):
        with pytest.raises(TaskFailed, match="credentials") as failed:
            await ensure_image(engine, image, policy="ALWAYS", login=login, lines=_Lines())
        assert image in failed.value.message
        assert "wrong-one" not in failed.value.message
    with pytest.raises(DockerError):
        await engine.images.inspect(image)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _described(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(content), "digest": _digest(content)}
