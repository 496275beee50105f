"""Every verb of the command line that works with a server, on one real standalone server (CLI-12 to CTL-7)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from flowtide.cli.commands import flowtide
from flowtide.cli.ctl.commands import flowtidectl
from flowtide.cli.program import run_program
from flowtide.testing.servers import free_port

ADMIN, PASSWORD = "admin@example.org", "Admin1234"
_SECONDS = 60  # a loaded machine starts slowly; an idle one needs two
_HELLO = """\
id: hello
namespace: tests.cli
inputs: [{id: name, type: STRING, defaults: you}]
tasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: "hello {{ inputs.name }}"}]
"""
_OTHER = """\
id: other
namespace: tests.cli
tasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: other}]
"""
_FAILS = """\
id: fails
namespace: tests.ends
tasks: [{id: no, type: io.kestra.plugin.core.execution.Fail}]
"""
_HOLDS = """\
id: holds
namespace: tests.ends
tasks: [{id: hold, type: io.kestra.plugin.core.flow.Pause}]
"""
_READS = """\
id: reads
namespace: tests.ends
inputs: [{id: doc, type: FILE}]
tasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: "{{ read(inputs.doc) }}"}]
"""


class Line:
    """The command lines of one person, whose home is a folder."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.url = url
        self.environment = {
            "HOME": str(home),
            "FLOWTIDE_DATA_PATH": str(home / "data"),
            "FLOWTIDECTL_HOST": url,
            "FLOWTIDECTL_USERNAME": ADMIN,
            "FLOWTIDECTL_PASSWORD": PASSWORD,
        }

    def flowtide(self, *arguments: str, code: int = 0, typed: str | None = None) -> Result:
        """Run a command of `flowtide`, which must end with this exit code."""
        return self._run(flowtide, arguments, code, typed)

    def ctl(self, *arguments: str, code: int = 0) -> Result:
        """Run a command of `flowtidectl`, which must end with this exit code."""
        return self._run(flowtidectl, arguments, code, None)

    def json(self, *arguments: str) -> Any:
        """What a command of `flowtidectl` writes as JSON."""
        return json.loads(self.ctl(*arguments, "--output", "json").stdout)

    def _run(
        self, program: click.Command, arguments: tuple[str, ...], code: int, typed: str | None
    ) -> Result:
        def ended() -> None:
            """As the process would: what commands return and what people got wrong becomes an exit code."""
            run_program(program, str(program.name), arguments)

        result = CliRunner(env=self.environment).invoke(
            click.Command("ended", callback=ended), [], input=typed
        )
        assert result.exit_code == code, (arguments, result.output, result.exc_info)
        return result


def _environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    return {**kept, "HOME": str(home), "FLOWTIDE_DATA_PATH": str(home / "data"), **more}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A server whose first user was made by the command line before it started."""
    home = tmp_path_factory.mktemp("home")
    port = free_port(2)
    made = Line(home, f"http://127.0.0.1:{port}")
    made.flowtide(
        "auths", "users", "create", ADMIN, "--password-stdin", "--superadmin", "--admin", typed=PASSWORD
    )
    output = home / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "flowtide", "server", "standalone", "--no-tutorials"],
            env=_environment(
                home,
                FLOWTIDE_SERVER_PORT=str(port),
                ENDPOINTS_ALL_PORT=str(port + 1),
                FLOWTIDE_TEMPLATES_ENABLED="true",
            ),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            end = time.monotonic() + _SECONDS
            while "is ready on" not in output.read_text():
                assert process.poll() is None, output.read_text()
                assert time.monotonic() < end, output.read_text()
                time.sleep(0.05)  # a real process can only be asked again
            yield made
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    """A folder with two flows."""
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "hello.yml").write_text(_HELLO)
    (folder / "other.yaml").write_text(_OTHER)
    return folder


def test_the_server_names_its_users(line: Line) -> None:
    """The banner says who can log in, as a user was made before the start."""
    assert "log in as the user of this installation" in (line.home / "output").read_text()


def test_flows_are_made_changed_listed_exported_and_deleted(line: Line, flows: Path, tmp_path: Path) -> None:
    """The verbs of `flow`, one after the other (CLI-12, CLI-15 to CLI-17, CLI-19)."""
    user = ("--server", line.url, "--user", f"{ADMIN}:{PASSWORD}")

    assert "2 flows valid" in line.flowtide("flow", "validate", str(flows), *user).output
    assert (
        line.flowtide("flow", "create", str(flows / "hello.yml"), *user).stdout
        == "tests.cli.hello revision 1\n"
    )
    assert "409" in line.flowtide("flow", "create", str(flows / "hello.yml"), code=1).output
    (flows / "hello.yml").write_text(_HELLO + "description: changed\n")
    updated = line.flowtide("flow", "update", str(flows / "hello.yml"), "tests.cli", "hello")
    assert updated.stdout == "tests.cli.hello revision 2\n"
    saved = line.flowtide("flow", "updates", str(flows))
    assert saved.stdout == "tests.cli.hello revision 2\ntests.cli.other revision 1\n"
    listed = line.flowtide("flow", "list", "--namespace", "tests.cli", "-o", "json")
    assert [each["id"] for each in json.loads(listed.stdout)] == ["hello", "other"]
    line.flowtide("flow", "export", str(tmp_path / "out"), "--namespace", "tests.cli")
    with zipfile.ZipFile(tmp_path / "out" / "flows.zip") as archive:
        assert archive.read("tests.cli.hello.yml").decode() == _HELLO + "description: changed\n"
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["flows.zip"]
    (flows / "other.yaml").unlink()
    assert "tests.cli.other is deleted" in line.flowtide("flow", "updates", str(flows), "--delete").stdout
    line.flowtide("flow", "delete", "tests.cli", "hello")
    assert "404" in line.flowtide("flow", "delete", "tests.cli", "hello", code=1).output


def test_a_namespace_is_brought_up_to_date(line: Line, flows: Path) -> None:
    """`flow namespace update` deletes what the folder has not, unless told otherwise (CLI-18)."""
    refused = line.flowtide("flow", "namespace", "update", "tests.ns", str(flows), code=1)
    assert "the namespace must be tests.ns" in refused.output
    line.flowtide("flow", "namespace", "update", "tests.ns", str(flows), "--override-namespaces")
    (flows / "other.yaml").unlink()
    line.flowtide(
        "flow", "namespace", "update", "tests.ns", str(flows), "--override-namespaces", "--no-delete"
    )
    assert [each["id"] for each in line.json("flows", "list", "tests.ns")] == ["hello", "other"]
    line.flowtide("flow", "namespace", "update", "tests.ns", str(flows), "--override-namespaces")
    assert [each["id"] for each in line.json("flows", "list", "tests.ns")] == ["hello"]


def test_an_invalid_flow_has_its_place(line: Line, flows: Path) -> None:
    """What the server finds wrong is written as an editor jumps to it, and nothing is saved."""
    (flows / "bad.yml").write_text("id: bad\nnamespace: tests.bad\ntasks:\n  - {id: a, type: no.such.Type}\n")

    checked = line.flowtide("flow", "validate", str(flows), "--server", line.url, code=1)

    assert f"{flows / 'bad.yml'}:4:" in checked.output
    assert "no.such.Type" in line.flowtide("flow", "updates", str(flows), code=1).output
    rows = json.loads(line.ctl("flows", "validate", str(flows), "-o", "json", code=1).stdout)
    assert {Path(each["file"]).name: each["valid"] for each in rows} == {
        "bad.yml": False,
        "hello.yml": True,
        "other.yaml": True,
    }
    assert line.json("flows", "list", "tests.bad") == []


def test_files_of_a_namespace_are_copied(line: Line, tmp_path: Path) -> None:
    """`namespace files update` (CLI-20), and the verbs of `nsfiles` (CTL-5)."""
    assets = tmp_path / "assets"
    (assets / "sub").mkdir(parents=True)
    (assets / ".git").mkdir()
    (assets / ".git" / "config").write_text("secret")
    (assets / "a.txt").write_bytes(b"\xff\x00a\r\n")
    (assets / "sub" / "b.txt").write_text("b")

    line.flowtide("namespace", "files", "update", "tests.files", str(assets), "scripts")
    (assets / "sub" / "b.txt").unlink()
    line.flowtide("namespace", "files", "update", "tests.files", str(assets), "/scripts", "--delete")
    found = line.json("nsfiles", "list", "tests.files", "--recursive")
    assert [each["path"] for each in found if each["type"] == "File"] == ["/scripts/a.txt"]
    assert (
        line.ctl("nsfiles", "get", "tests.files", "--path", "scripts/a.txt").stdout_bytes == b"\xff\x00a\r\n"
    )

    refused = line.ctl("nsfiles", "upload", "tests.files", str(assets), "--path", "scripts", code=1)
    assert "--override" in refused.stderr
    line.ctl(
        "nsfiles", "upload", "tests.files", str(assets), "--path", "scripts", "--override", "--fail-fast"
    )
    line.ctl("nsfiles", "upload", "tests.files", str(assets / "a.txt"), "renamed.txt")
    line.ctl("nsfiles", "delete", "tests.files", "scripts", code=1)
    line.ctl("nsfiles", "delete", "tests.files", "scripts", "--recursive")
    line.ctl("nsfiles", "delete", "tests.files", "scripts", code=1)
    line.ctl("nsfiles", "delete", "tests.files", "scripts", "--force")
    assert [each["path"] for each in line.json("nsfiles", "list", "tests.files")] == ["/renamed.txt"]


def test_pairs_of_a_namespace_are_set(line: Line, tmp_path: Path) -> None:
    """`namespace kv update` (CLI-21), and the verbs of `kv`; a login by password may list, too (CTL-8)."""
    (tmp_path / "value").write_text('{"a": [1]}')

    line.flowtide("namespace", "kv", "update", "tests.kv", "short", "12", "-e", "1d", "-t", "STRING")
    line.flowtide("namespace", "kv", "update", "tests.kv", "long", "--file-value", str(tmp_path / "value"))
    assert line.json("kv", "get", "tests.kv", "short")["type"] == "STRING"
    assert json.loads(line.ctl("kv", "get", "tests.kv", "long").stdout) == {"a": [1]}
    pairs = {each["key"]: each for each in line.json("kv", "list", "tests.kv")}
    assert set(pairs) == {"short", "long"}
    assert "expirationDate" in pairs["short"]
    line.ctl("kv", "update", "tests.kv", "none", "1", code=1)
    line.ctl("kv", "set", "tests.kv", "a/b c?", "x")
    line.ctl("kv", "update", "tests.kv", "a/b c?", "y", "--type", "STRING")
    assert line.ctl("kv", "get", "tests.kv", "a/b c?").stdout == "y\n"
    line.ctl("kv", "delete", "tests.kv", "short", "none", code=1)
    assert [each["key"] for each in line.json("kv", "list", "tests.kv")] == ["a/b c?", "long"]


def test_flows_are_deployed(line: Line, flows: Path) -> None:
    """Into another namespace, again only with --override, byte for byte (CTL-5)."""
    first = line.json("flows", "deploy", str(flows), "--namespace", "tests.deploy", "--fail-fast")
    assert [(each["id"], each["namespace"], each["revision"]) for each in first] == [
        ("hello", "tests.deploy", 1),
        ("other", "tests.deploy", 1),
    ]
    assert (
        "hello.yml" in line.ctl("flows", "deploy", str(flows), "--namespace", "tests.deploy", code=1).stderr
    )
    (flows / "hello.yml").write_text(_HELLO + "# a comment\n")
    again = line.json("flows", "deploy", str(flows), "--namespace", "tests.deploy", "--override")
    assert [each["revision"] for each in again] == [2, 1]
    written = line.ctl("flows", "get", "tests.deploy", "hello").stdout
    assert written == (_HELLO + "# a comment\n").replace("tests.cli", "tests.deploy")
    found = [each["id"] for each in line.json("namespaces", "list", "--query", "tests.dep")]
    assert found == ["tests.deploy"]


def test_the_end_of_an_execution_is_the_exit_code(line: Line, tmp_path: Path) -> None:
    """0, 1, and 4 for one that goes on; inputs are texts and files; logs are there (CTL-4, CTL-5)."""
    for name, source in (("hello", _HELLO), ("fails", _FAILS), ("holds", _HOLDS), ("reads", _READS)):
        (tmp_path / f"{name}.yml").write_text(source.replace("tests.cli", "tests.ends"))
    line.ctl("flows", "deploy", str(tmp_path))
    (tmp_path / "doc.txt").write_text("from a file")

    done = line.json("executions", "run", "tests.ends", "hello", "-i", "name=Ada", "-l", "team:a", "--wait")
    assert done["state"]["current"] == "SUCCESS"
    assert done["inputs"] == {"name": "Ada"}
    assert {"key": "team", "value": "a"} in done["labels"]
    failed = line.ctl("executions", "run", "tests.ends", "fails", "--wait", code=1)
    assert "FAILED" in failed.stderr
    read = line.json(
        "executions", "run", "tests.ends", "reads", "-i", f"doc={tmp_path / 'doc.txt'}", "--wait"
    )
    assert "from a file" in line.ctl("executions", "logs", read["id"], "--follow").stdout
    line.ctl("executions", "run", "tests.ends", "reads", "-i", "doc=/no/such/file", code=2)
    started = line.json("executions", "run", "tests.ends", "holds")
    paused = line.ctl("executions", "run", "tests.ends", "holds", "--wait", "--timeout", "0.3", code=4)
    assert "goes on" in paused.stderr
    assert "nobody" in line.ctl("executions", "get", "nobody", code=1).stderr
    line.ctl("executions", "kill", started["id"])
    assert line.json("executions", "inspect", started["id"])["id"] == started["id"]


def test_users_and_tenants_are_made_on_the_server(line: Line) -> None:
    """The verbs of `auths` and `tenants` by the API, and a login that works afterwards (CLI-26, CLI-27, CLI-29)."""
    server = ("--server", line.url, "--user", f"{ADMIN}:{PASSWORD}")
    users = ("auths", "users")

    line.flowtide(*users, "create", "--username=b@example.org", "--password=Bbbb1234", "--admin", *server)
    line.flowtide(*users, "create", "b@example.org", *server, code=1)
    assert "already" in line.flowtide(*users, "create", "b@example.org", "--if-not-exists", *server).stdout
    assert (
        "no group"
        in line.flowtide(*users, "create", "c@example.org", "--groups", "x", *server, code=1).output
    )
    line.flowtide(*users, "set-superadmin", "b@example.org", "true", *server)
    line.flowtide(
        *users, "create-basic-auth", "b@example.org", "--password-stdin", *server, typed="Cccc1234\n"
    )
    line.flowtide("tenants", "create", "--tenant", "stage", "--name", "Staging", *server)
    line.flowtide("tenants", "create", "prod", "Production", "--admin-username", "b@example.org", *server)
    for count in (1, 0):  # who made the tenant could enter it before
        synced = line.flowtide(*users, "sync-access", "--tenant", "stage", *server)
        assert synced.stdout.startswith(f"{count} of 2 users")
    line.flowtide(*users, "refresh", *server)
    line.flowtide(*users, "email-replace-username", *server)
    login = ("--username", "b@example.org", "--password", "Cccc1234", "--tenant", "prod")
    line.ctl("kv", "set", "own", "key", "value", *login)
    assert [each["key"] for each in json.loads(line.ctl("kv", "list", "-o", "json", *login).stdout)] == [
        "key"
    ]


def test_an_installation_that_is_in_use_says_so(line: Line) -> None:
    """Without --server the log is opened, which the running server holds: what to do is told."""
    refused = line.flowtide("auths", "users", "refresh", code=1)

    assert "is in use by process" in refused.output
    assert "--server" in refused.output


def test_templates_are_saved(line: Line, tmp_path: Path) -> None:
    """The verbs of `template`, on a server that has templates."""
    (tmp_path / "t.yml").write_text(
        "id: t\nnamespace: tests.templates\ntasks: [{id: a, type: io.kestra.plugin.core.log.Log, message: a}]\n"
    )

    line.flowtide("template", "validate", str(tmp_path))
    saved = line.flowtide("template", "namespace", "update", "tests.templates", str(tmp_path))
    assert saved.stdout == "tests.templates.t\n"
    line.flowtide("template", "export", str(tmp_path / "out"))
    assert (tmp_path / "out" / "templates.zip").is_file()


def test_credentials_show_only_when_asked_for(line: Line) -> None:
    """Neither errors nor `flowtide -v` have them; `flowtidectl -v` does, as its help says (CTL-6)."""
    wrong = line.ctl("flows", "list", "--username", ADMIN, "--password", "Wrong1234", code=1)
    assert "401" in wrong.stderr
    assert "Wrong1234" not in wrong.stderr
    assert "Authorization" not in line.flowtide("flow", "list", "-v").stderr
    assert "> GET" in line.flowtide("flow", "list", "-v").stderr
    assert "> Authorization: Basic" in line.ctl("flows", "list", "-v").stderr
