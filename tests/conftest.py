"""What all tests share: the addresses of real services, and the guard against a blocked event loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

# Machines are busy at times; how long one example takes says nothing, and every test has a time-out.
settings.register_profile("flowtide", deadline=None)
settings.load_profile("flowtide")

_UNIT = Path(__file__).parent / "unit"


def _service(variable: str, name: str) -> str:
    address = os.environ.get(variable, "")
    if address:
        return address
    message = (
        f"{variable} is not set: no {name}. `make services` starts one and says how to run the tests on it."
    )
    if os.environ.get("FLOWTIDE_TEST_REQUIRE_SERVICES") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def kafka_address() -> str:
    """`host:port` of a real Kafka; skips without one, fails without one where services are demanded."""
    return _service("FLOWTIDE_TEST_KAFKA", "Kafka")


@pytest.fixture(scope="session")
def elasticsearch_url() -> str:
    """The address of a real Elasticsearch; without one like `kafka_address`."""
    return _service("FLOWTIDE_TEST_ELASTICSEARCH", "Elasticsearch")


@pytest.fixture(scope="session")
def docker_address() -> str:
    """The address of a real Docker engine with the images of `deploy/services/docker`; like `kafka_address`."""
    return _service("FLOWTIDE_TEST_DOCKER", "Docker engine")


@pytest.fixture(scope="session")
def ldap_address() -> str:
    """`ldap://host:port` of the real OpenLDAP server of `deploy/services/ldap`; like `kafka_address`."""
    return _service("FLOWTIDE_TEST_LDAP", "OpenLDAP server")


@pytest.fixture(scope="session")
def oidc_address() -> str:
    """The issuer of the real OpenID Connect provider of `deploy/services/oidc`; like `kafka_address`."""
    return _service("FLOWTIDE_TEST_OIDC", "OpenID Connect provider")


@pytest.fixture(autouse=True)
def blocked_loop_fails(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """In unit tests a call that blocks the event loop raises, unless the test is marked `blocking`."""
    if _UNIT not in request.path.parents or request.node.get_closest_marker("blocking") is not None:
        yield None
        return
    with blockbuster_ctx("flowtide") as guard:
        yield guard
