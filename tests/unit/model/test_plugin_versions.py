"""Pins of plugin versions."""

from __future__ import annotations

import pytest

import flowtide
from flowtide.model.execution_tasks import SetVariables
from flowtide.model.plugin_versions import installed_version, refused_version
from tests.language import Say

TASK = SetVariables(id="a", type="SetVariables", variables={})


@pytest.mark.parametrize(
    "wanted", [None, "LATEST", "latest", "CURRENT", flowtide.__version__, f"v{flowtide.__version__}"]
)
def test_what_is_installed_may_be_pinned(wanted: str | None) -> None:
    """TSK-12: the version that is there, or whichever is there."""
    assert refused_version(TASK, wanted) is None


def test_another_version_is_refused_with_the_one_that_is_there() -> None:
    """Page 470: one version of a package is installed at a time."""
    assert refused_version(TASK, "99.0.0") == flowtide.__version__


def test_a_class_of_no_package_has_no_version() -> None:
    """Such as one of a test; a pin can never be met."""
    assert installed_version(Say) == "unknown"
