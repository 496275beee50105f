"""Names of plugins, and removing a package from a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtide.cli.plugin_packages import PluginNotInstalled, comes_with_flowtide, coordinate, uninstall

_TYPES = [
    "io.kestra.plugin.scripts.python.Script",
    "io.kestra.plugin.core.log.Log",
    "io.kestra.plugin.git.Clone",
]


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("io.kestra.plugin:plugin-scripts:LATEST", True),
        ("io.kestra.plugin:plugin-script-python:1.2.3", True),
        ("io.kestra.plugin:plugin-git", True),
        ("io.kestra.plugin:plugin-dbt:LATEST", False),
    ],
)
def test_coordinates_of_types_that_are_there(name: str, there: bool) -> None:
    """What Kestra has as a plugin may come with Flowtide."""
    plugin = coordinate(name)

    assert plugin is not None
    assert comes_with_flowtide(plugin, _TYPES) is there


@pytest.mark.parametrize("name", ["flowtide-plugin-x", "x==1.0", "git+https://example.org/x.git", "./folder"])
def test_packages_of_python_are_no_coordinates(name: str) -> None:
    """They go to pip as they are."""
    assert coordinate(name) is None


def test_a_package_leaves_its_folder(tmp_path: Path) -> None:
    """Its files and folders are gone, those of others stay; a second time is told."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text(
            f"{name}/__init__.py,,\n{name}-1.0.dist-info/METADATA,,\n{name}-1.0.dist-info/RECORD,,\n../../outside,,\n"
        )

    uninstall(["One==1.0"], tmp_path)

    assert sorted(each.name for each in tmp_path.iterdir()) == ["two", "two-1.0.dist-info"]
    with pytest.raises(PluginNotInstalled, match="no package one"):
        uninstall(["one"], tmp_path)
