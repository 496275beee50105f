"""`flowtide plugins doc` writes what the classes say, a file each (CLI-22)."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from flowtide.cli.commands import flowtide

LOG = "io.kestra.plugin.core.log.Log"


def test_the_documentation_is_written(tmp_path: Path) -> None:
    """Markdown, an icon and a schema of each type of the core, and the schema of a flow."""
    result = CliRunner().invoke(
        flowtide, ["plugins", "doc", str(tmp_path / "docs"), "--core", "--icons", "--schema"]
    )
    assert result.exit_code == 0, result.output
    assert "types are documented in" in result.output
    folder = tmp_path / "docs"
    assert (folder / f"{LOG}.md").read_text(encoding="utf-8").startswith("# Log\n")
    assert (folder / f"{LOG}.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "message" in json.loads((folder / f"{LOG}.json").read_text())["properties"]["properties"]
    assert json.loads((folder / "flow.json").read_text())["title"] == "Flow"
    assert not list(folder.glob("*scripts*"))
