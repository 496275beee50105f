"""Options of commands that talk to a server, and what takes their place."""

from __future__ import annotations

from base64 import b64encode

import click
import pytest

from flowtide.cli.options import Invocation
from flowtide.cli.server_options import ServerOptions, variable

_BASIC = "Basic " + b64encode(b"a@example.org:Secret123").decode()


def test_defaults_are_those_of_kestra() -> None:
    """Without anything it is localhost:8080 and the tenant main, and nobody (CLI-3)."""
    connection = ServerOptions().client(Invocation(), {}).connection

    assert (connection.server, connection.tenant, connection.authorization) == (
        "http://localhost:8080",
        "main",
        None,
    )


def test_options_win_over_variables() -> None:
    """An option for each, a variable for what no option says; a login is taken whole."""
    environment = {
        "FLOWTIDECTL_HOST": "http://b",
        "KESTRACTL_TENANT": "t",
        "FLOWTIDECTL_TOKEN": "of-variable",
    }
    options = ServerOptions(server="http://a", user="a@example.org:Secret123")

    connection = options.client(Invocation(), environment).connection

    assert (connection.server, connection.tenant, connection.authorization) == ("http://a", "t", _BASIC)


@pytest.mark.parametrize("text", ["X-One=1", "X-One: 1"])
def test_headers_are_written_in_two_ways(text: str) -> None:
    """As Kestra has them and as curl has them."""
    options = ServerOptions(headers=(text,))

    assert options.client(Invocation(), {}).connection.headers == (("X-One", "1"),)


def test_what_makes_no_sense_is_refused() -> None:
    """Two logins, and a header that is none."""
    with pytest.raises(click.UsageError):
        ServerOptions(user="a:b", api_token="c").client(Invocation(), {})
    with pytest.raises(click.UsageError):
        ServerOptions(headers=("nothing",)).client(Invocation(), {})


def test_our_variable_wins_over_the_other_one() -> None:
    """FLOWTIDECTL_ before KESTRACTL_, and an empty one counts as none."""
    both = {
        "FLOWTIDECTL_HOST": "",
        "KESTRACTL_HOST": "http://k",
        "FLOWTIDECTL_TOKEN": "f",
        "KESTRACTL_TOKEN": "k",
    }

    assert (variable(both, "HOST"), variable(both, "TOKEN"), variable(both, "TENANT")) == (
        "http://k",
        "f",
        None,
    )


def test_only_a_server_or_a_login_names_a_server() -> None:
    """A tenant alone may be one of this installation."""
    assert not ServerOptions(tenant="prod").names_server
    assert ServerOptions(tenant="prod").given
    assert ServerOptions(api_token="x").names_server
