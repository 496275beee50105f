"""Documents, archives and queries made to cost much more than they are: one server, which must answer 4xx and live."""

from __future__ import annotations

import asyncio
import io
import re
import stat
import struct
import zipfile
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from importlib.resources import files
from typing import Any

import msgspec
import psutil
import pytest
import pytest_asyncio
import yaml
from aiohttp import FormData, ServerDisconnectedError

from flowtide.api import flow_archives
from flowtide.api.keys import Site
from tests.integration.api_requests import YAML
from tests.integration.api_system import LOGIN, System, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/v1"
PATIENCE_SECONDS = 20  # what must come at once takes so long on a loaded machine; a bomb takes for ever
FLOW = """\
id: sample
namespace: company.team
tasks:
  - {id: give, type: io.kestra.plugin.core.debug.Return, format: x}
"""
REQUESTS = yaml.safe_load(files("flowtide.api").joinpath("requests.yaml").read_text(encoding="utf-8"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A running system with a flow."""
    site = Site(body_timeout=timedelta(milliseconds=500))
    async with running(tmp_path_factory.mktemp("bombs"), site=site, with_executor=False) as found:
        assert await status(found, "POST", f"{API}/main/flows", data=FLOW, headers=YAML) == 200
        yield found


async def status(system: System, method: str, path: str, **arguments: Any) -> int:
    """Ask, and give the status; the answer must come soon, and be our envelope when it is a refusal."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with system.client.request(method, path, **arguments) as response:
            body = await response.read()
            # What is no request is refused before we see it, as text.
            if response.status >= 400 and response.content_type != "text/plain":
                envelope = msgspec.json.decode(body)
                assert "message" in envelope or "detail" in envelope, body[:200]  # ours, or that of SCIM
            assert response.status < 500, (method, path, response.status, body[:300])
            return response.status


def filled(path: str) -> str:
    """A path with names of what is there."""
    names = {"tenant": "main", "namespace": "company.team", "id": "sample", "flowId": "sample"}
    return API + re.sub(r"\{([A-Za-z]+)(?::[^}]*)?\}", lambda match: names.get(match[1], "x"), path)


def _laughs() -> str:
    lines = ['a: &a ["x", "x", "x", "x", "x", "x", "x", "x", "x"]']
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join(9 * [f'*{before}'])}]")
    return "\n".join(lines)


def _merges() -> str:
    lines = ["a: &b0 {x: 1}"]
    lines += [f"b{number}: &b{number}\n  <<: [*b{number - 1}, *b{number - 1}]" for number in range(1, 40)]
    return "\n".join(lines)


YAML_BOMBS = {
    "aliases": _laughs(),
    "merges": _merges(),
    "an alias of itself": "a: &a [*a]",
    "depth": "a: " + "[" * 100_000,
    "indentation": "".join(" " * level + "a:\n" for level in range(1_000)),
    "keys": "".join(f"k{number}: 1\n" for number in range(60_000)),
    "a huge scalar": "id: " + "x" * 5_000_000,
    "documents": "---\na: 1\n" * 200_000,
    "a large number": "id: " + "9" * 100_000,
    "a tag": '!!python/object/apply:os.system ["id"]',
    "a namespace of dots": "id: a\nnamespace: " + "a." * 50_000 + "b\ntasks: []",
    "letters that no name has": 'id: "\\0\\ud800"\nnamespace: "\\0"',
    "numbers to the base of sixty": "id: " + ":".join(10_000 * ["59"]),
}


@pytest.mark.parametrize("name", YAML_BOMBS)
async def test_yaml_bombs_are_refused_everywhere(system: System, name: str) -> None:
    """Every operation that takes YAML answers each at once: 4xx, or what is wrong where that was asked."""
    bomb = YAML_BOMBS[name].encode()
    for route, request in REQUESTS.items():
        if request.get("body") == "yaml":
            method, path = route.split(" ")
            found = await status(system, method, filled(path), data=io.BytesIO(bomb), headers=YAML)
            assert found >= 400 or "validate" in path, f"{method} {path}"


JSON_BOMBS = {
    "depth of lists": b"[" * 200_000,
    "depth of objects": b'{"a":' * 100_000,
    "as deep as is taken": b'{"a":' * 150 + b"1" + b"}" * 150,
    "a large number": b'{"a":' + b"9" * 1_000_000 + b"}",
    "a large exponent": b'{"a": 1e999999, "id": -1e400}',
    "keys": b"{" + b",".join(b'"k%d":1' % number for number in range(60_000)) + b"}",
    "a long list": b'["x"' + b',"x"' * 500_000 + b"]",
    "half a letter": b'{"id": "\\ud800", "name": "\\ud800", "email": "\\ud800@b.org"}',
    "no letters": b'{"id": "\\u0000", "name": "\\u0000", "email": "\\u0000@b.org"}',
    "dots": b'{"variables": {"' + b"a." * 5_000 + b'b": 1}, "id": "' + b"a." * 5_000 + b'b"}',
}


@pytest.mark.parametrize("name", JSON_BOMBS)
async def test_json_bombs_are_refused_everywhere(system: System, name: str) -> None:
    """No operation that takes JSON fails or hangs."""
    for route, request in REQUESTS.items():
        body = request.get("body", "yaml")
        if body not in ("yaml", "text", "inputs") and not body.startswith("file "):
            method, path = route.split(" ")
            headers = {"Content-Type": "application/json"}
            await status(system, method, filled(path), data=io.BytesIO(JSON_BOMBS[name]), headers=headers)


# --- archives ----------------------------------------------------------------------------------------------------


def _zip(entries: dict[str, bytes], *, links: dict[str, str] | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        for name, target in (links or {}).items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, target)
    return file.getvalue()


def _lying() -> bytes:
    """An archive whose directory is said to have 4 GB."""
    content = bytearray(_zip({"a.yaml": FLOW.encode()}))
    at = content.rfind(b"PK\x05\x06")
    content[at + 12 : at + 16] = struct.pack("<I", 0xFFFF_FFF0)
    return bytes(content)


async def _upload(system: System, path: str, content: bytes, name: str = "a.zip") -> tuple[int, Any]:
    form = FormData()
    form.add_field("fileUpload", io.BytesIO(content), filename=name)
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with system.client.post(API + path, data=form) as response:
            return response.status, await response.json()


async def test_zip_bombs_are_refused(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """By size unpacked, by number, by directory and by nonsense: 413 or 422, and memory stays what it was."""
    before = psutil.Process().memory_info().rss
    monkeypatch.setattr(flow_archives, "_LARGEST_ARCHIVE_BYTES", 32 * 1024 * 1024)
    zeros = bytes(11 * 1024 * 1024)
    bombs = {
        "one large entry": (_zip({"a.yaml": zeros}), 413),
        "many of them": (_zip({f"{number}.yaml": zeros[: 9 * 1024 * 1024] for number in range(4)}), 413),
        "many entries": (_zip({f"{number}.yaml": b"" for number in range(10_001)}), 413),
        "many other entries": (_zip({f"{'n' * 200}{number}.txt": b"" for number in range(20_000)}), 413),
        "a directory that lies": (_lying(), 413),
        "cut off": (_zip({"a.yaml": FLOW.encode() * 1_000})[:-200], 422),
        "no archive": (b"PK\x03\x04" + bytes(100), 422),
        "nothing": (b"", 422),
    }
    for name, (content, expected) in bombs.items():
        for path in ("/main/flows/import", "/main/flows/import?failOnError=true"):
            found, answer = await _upload(system, path, content)
            assert (found, name) == (expected, name), answer
    assert psutil.Process().memory_info().rss - before < 300 * 1024 * 1024


async def test_names_in_an_archive_lead_nowhere(system: System) -> None:
    """Entries called `../`, absolute ones, links and archives in archives are texts like others, or left out."""
    inner = _zip({"inner.yaml": FLOW.replace("id: sample", "id: inner").encode()})
    content = _zip(
        {
            "../../../outside.yaml": FLOW.replace("id: sample", "id: outside").encode(),
            "/etc/absolute.yaml": FLOW.replace("id: sample", "id: absolute").encode(),
            "inner.zip": inner,
            "C:\\a.yaml": FLOW.replace("id: sample", "id: windows").encode(),
        },
        links={"link.yaml": "/etc/passwd"},
    )
    found, failed = await _upload(system, "/main/flows/import", content)
    assert found == 200
    assert failed == ["link.yaml"]  # what it leads to is not read: the text itself is no flow
    async with system.client.get(f"{API}/main/flows/company.team") as response:
        known = {each["id"] for each in await response.json()}
    assert {"outside", "absolute", "windows"} <= known
    assert "inner" not in known


# --- forms -------------------------------------------------------------------------------------------------------


async def test_forms_have_limits(system: System) -> None:
    """Thousands of parts, long names and headers, nested forms and encodings: 400, 413 or 415."""
    path = f"{API}/main/executions/company.team/sample"
    part = '--x\r\nContent-Disposition: form-data; name="a%s"\r\n\r\nv\r\n'
    bodies = {
        "parts": "".join(part % number for number in range(5_000)) + "--x--\r\n",
        "a long name": part % ("n" * 100_000) + "--x--\r\n",
        "a long header": f"--x\r\nX-Long: {'h' * 200_000}\r\n\r\nv\r\n--x--\r\n",
        "headers": "--x\r\n"
        + "".join(f"X-{number}: v\r\n" for number in range(20_000))
        + "\r\nv\r\n--x--\r\n",
        "no end": part % "b",
        "a form in it": "--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\n--y--\r\n--x--\r\n",
        "an encoding": '--x\r\nContent-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        "=\r\n--x--\r\n",
        "a compressed part": '--x\r\nContent-Disposition: form-data; name="a"\r\nContent-Encoding: gzip\r\n\r\n'
        "x\r\n--x--\r\n",
        "nothing": "",
    }
    for name, body in bodies.items():
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        found = await status(system, "POST", path, data=io.BytesIO(body.encode()), headers=headers)
        assert found in (400, 413, 415), name
    for boundary in ("", "; boundary=", f"; boundary={'b' * 1_000}"):
        headers = {"Content-Type": f"multipart/form-data{boundary}"}
        assert await status(system, "POST", path, data=b"--x\r\n", headers=headers) == 400


async def test_compressed_bodies_are_no_way_around_the_limits(system: System) -> None:
    """A body that says it is compressed is refused, or counted as it is unpacked."""
    import zlib

    packed = zlib.compress(bytes(200 * 1024 * 1024), 9)
    for encoding in ("deflate", "gzip", "br", "zstd", "nonsense"):
        headers = {"Content-Type": "application/x-yaml", "Content-Encoding": encoding}
        with suppress(ServerDisconnectedError):  # it did not wait for the rest of what it refused
            found = await status(
                system, "POST", f"{API}/main/flows", data=io.BytesIO(packed), headers=headers
            )
            assert found in (400, 413, 415, 422), encoding


# --- queries -----------------------------------------------------------------------------------------------------


async def test_queries_have_limits(system: System) -> None:
    """Huge pages, many and deep filters, patterns that backtrack: 4xx or an answer, and never a wait."""
    evil = "(a%2B)%2B%24" + "a" * 30
    queries = {
        "size=100000": 422,
        "size=0": 422,
        "size=-1": 422,
        "size=1e3": 422,
        "page=99999999999999999999": 422,
        f"page={'9' * 5_000}": 422,
        "page=\u0661": 422,
        "sort=" + ",".join(2_000 * ["id"]): 400,
        "&".join(f"filters[labels][EQUALS][k{number}]=v" for number in range(300)): None,
        f"filters[namespace][REGEX]={evil}": None,
        "filters[namespace][REGEX]=(": 400,
        f"filters[q][EQUALS]={'%00' * 100}": None,
        f"filters[q][EQUALS]={'*' * 3_000}": None,
        "filters[or][0]" * 200 + "[namespace][EQUALS]=a": None,
    }
    for area in ("flows", "executions", "logs", "triggers"):
        for query, expected in queries.items():
            found = await status(system, "GET", f"{API}/main/{area}/search?{query}")
            assert expected is None or found in (expected, 400), (area, query[:60], found)


async def test_heads_that_are_too_large_are_refused(system: System) -> None:
    """A long path: 414; many or long headers: 431 or 400; each with our envelope or a closed connection."""
    long_path = f"GET /api/v1/main/flows/search?q={'a' * 20_000} HTTP/1.1\r\nHost: x\r\n\r\n"
    long_header = f"GET /api/v1/main/flows/search HTTP/1.1\r\nHost: x\r\nX: {'a' * 20_000}\r\n\r\n"
    many = "".join(f"X-{number}: v\r\n" for number in range(5_000))
    heads = {
        long_path: {400, 414},
        long_header: {400, 431},
        f"GET /api/v1/main/flows/search HTTP/1.1\r\nHost: x\r\n{many}\r\n": {400, 401, 431},
        "GET /api/v1/main/flows/search HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n": {
            400
        },
        "POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n": {
            400
        },
        "POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n": {
            400,
            408,
            413,
        },
        "GET /api/v1/main/flows/search HTTP/9.9\r\n\r\n": {400, 401, 505},
        f"{'A' * 1_000} / HTTP/1.1\r\n\r\n": {400, 404, 405},
    }
    for head, expected in heads.items():
        found, answer = await raw(system, head.encode())
        assert found in expected, (head[:80], answer[:200])
        assert b"Traceback" not in answer


async def raw(system: System, request: bytes) -> tuple[int, bytes]:
    """Send bytes as they are, and no more; gives the status and the first of the answer."""
    assert system.client.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", system.client.port)
    writer.write(request)
    async with asyncio.timeout(PATIENCE_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return int(head.split(b" ", 2)[1]), head


async def test_the_server_lives(system: System) -> None:
    """After all of it, the flow is there and requests are answered."""
    assert await status(system, "GET", f"{API}/main/flows/company.team/sample") == 200
    assert LOGIN
