"""The file of contexts, and which of several places decides."""

from __future__ import annotations

import stat
from base64 import b64encode
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from flowtide.cli.ctl.commands import flowtidectl
from flowtide.cli.ctl.context_file import (
    Context,
    Contexts,
    ContextsUnusable,
    found_file,
    own_file,
    read_contexts,
    write_contexts,
)
from flowtide.cli.ctl.options import Given, resolve

_KESTRACTL = """\
contexts:
  default:
    host: https://kestra.example.com
    tenant: production
    auth_method: token
    token: of-the-file
  basic:
    host: http://localhost:8080
    tenant: main
    auth_method: basicAuth
    username: a@example.org
    password: Secret123
default_context: default
"""


def _basic(text: str) -> str:
    return "Basic " + b64encode(text.encode()).decode()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with the file of kestractl."""
    (tmp_path / ".kestractl").mkdir()
    (tmp_path / ".kestractl" / "config.yaml").write_text(_KESTRACTL)
    return tmp_path


def test_the_file_of_kestractl_is_read(home: Path) -> None:
    """Where there is no file of our own; the default context holds (CTL-2)."""
    resolved = resolve(Given(), {}, home)

    assert resolved.connection.server == "https://kestra.example.com"
    assert resolved.connection.tenant == "production"
    assert resolved.connection.authorization == "Bearer of-the-file"
    assert resolved.output == "table"


def test_a_file_of_our_own_wins(home: Path) -> None:
    """Once it is there, the other one is not looked at."""
    write_contexts(
        own_file(home), Contexts().with_context("x", Context(host="http://x", tenant="t"), default=False)
    )

    assert found_file(home) == own_file(home)
    assert resolve(Given(), {}, home).connection.server == "http://x"


def test_options_then_variables_then_the_file(home: Path) -> None:
    """Each value comes from the first place that has it (CTL-7)."""
    environment = {
        "FLOWTIDECTL_HOST": "http://variable",
        "KESTRACTL_TENANT": "of-variable",
        "FLOWTIDECTL_TOKEN": "of-variable",
        "KESTRACTL_OUTPUT": "json",
    }

    by_variables = resolve(Given(), environment, home)
    by_options = resolve(Given(host="http://option", token="of-option", output="table"), environment, home)

    assert by_variables.connection.server == "http://variable"
    assert by_variables.connection.tenant == "of-variable"
    assert by_variables.connection.authorization == "Bearer of-variable"
    assert by_variables.output == "json"
    assert by_options.connection.server == "http://option"
    assert by_options.connection.authorization == "Bearer of-option"
    assert by_options.output == "table"


def test_a_login_is_never_a_mixture(home: Path) -> None:
    """A name and password of options replace the token of a variable or of the file."""
    environment = {"FLOWTIDECTL_TOKEN": "of-variable"}
    given = Given(username="b@example.org", password="Other1234")

    assert resolve(given, environment, home).connection.authorization == _basic("b@example.org:Other1234")
    context = resolve(Given(context="basic"), {}, home)
    assert context.connection.authorization == _basic("a@example.org:Secret123")


def test_options_of_the_command_win_over_those_before_it() -> None:
    """`flowtidectl --host A flows list --host B` asks B; a login replaces a login."""
    outer = Given(host="http://a", token="t", verbose=True)

    whole = Given(host="http://b", username="u", password="p").over(outer)

    assert (whole.host, whole.token, whole.username, whole.verbose) == ("http://b", None, "u", True)


def test_without_anything_there_are_defaults(tmp_path: Path) -> None:
    """No file, no variable: localhost, main, nobody."""
    connection = resolve(Given(), {}, tmp_path).connection

    assert (connection.server, connection.tenant, connection.authorization) == (
        "http://localhost:8080",
        "main",
        None,
    )


def test_what_cannot_be_meant_is_refused(home: Path) -> None:
    """Two logins, half a login, and a context or form that is not there."""
    for given in (Given(token="t", username="u"), Given(username="u")):
        with pytest.raises(click.UsageError):
            resolve(given, {}, home)
    with pytest.raises(ContextsUnusable, match="there are basic, default"):
        resolve(Given(context="nope"), {}, home)
    with pytest.raises(click.UsageError):
        resolve(Given(), {"FLOWTIDECTL_OUTPUT": "xml"}, home)


def test_a_written_file_is_read_back_and_is_private(tmp_path: Path) -> None:
    """Every field, the default, and rights for nobody else."""
    file = own_file(tmp_path)
    first = Context(host="http://a", tenant="t", token="secret")
    second = Context(host="http://b", tenant="u", auth_method="basicAuth", username="n", password="p")
    contexts = Contexts().with_context("one", first, default=False).with_context("two", second, default=True)

    write_contexts(file, contexts)

    assert read_contexts(file) == contexts
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "contexts: [a]",
        "contexts: {a: {tenant: x}}",
        "contexts: {a: {host: h, auth_method: magic}}",
        "- a",
    ],
)
def test_a_broken_file_is_named_without_its_content(tmp_path: Path, text: str) -> None:
    """The file stands in the sentence, what is in it does not."""
    file = tmp_path / "config.yaml"
    file.write_text(text)

    with pytest.raises(ContextsUnusable, match=r"config\.yaml"):
        read_contexts(file)


def test_the_verbs_of_config(home: Path) -> None:
    """add, show, use and remove; what kestractl's file has moves along, and no secret is shown (CTL-3)."""
    runner = CliRunner(env={"HOME": str(home)})

    def call(*arguments: str, typed: str | None = None) -> str:
        result = runner.invoke(flowtidectl, ["config", *arguments], input=typed)
        assert result.exit_code == 0, result.output
        return result.output

    call("add", "new", "http://new:8080", "t1", "--token", "-", typed="typed-token\n")
    assert read_contexts(own_file(home)).named("new").token == "typed-token"
    assert set(read_contexts(own_file(home)).contexts) == {"default", "basic", "new"}
    shown = call("show")
    assert "http://new:8080" in shown
    assert not any(secret in shown for secret in ("typed-token", "of-the-file", "Secret123"))
    assert "typed-token" not in call("show", "--output", "json")
    assert "typed-token" in call("show", "-v")
    call("use", "new")
    assert read_contexts(own_file(home)).default == "new"
    call("remove", "new")
    assert read_contexts(own_file(home)).default is None
    refused = runner.invoke(flowtidectl, ["config", "add", "bad", "localhost:8080"])
    assert refused.exit_code == 1


def test_shells_complete_contexts(home: Path) -> None:
    """`config use <TAB>` and `--context <TAB>` know the names."""
    for words, count in (("flowtidectl config use b", "3"), ("flowtidectl --context b", "2")):
        environment = {
            "HOME": str(home),
            "COMP_WORDS": words,
            "COMP_CWORD": count,
            "_FLOWTIDECTL_COMPLETE": "bash_complete",
        }
        result = CliRunner().invoke(flowtidectl, [], prog_name="flowtidectl", env=environment)

        assert result.output == "plain,basic\n"
