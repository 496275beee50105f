"""Arguments of `flow test`, namespaces of sources, and the graph in the language of Graphviz."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from flowtide.cli.commands import flowtide
from flowtide.cli.flow_checks import flows_and_pairs
from flowtide.cli.flow_saving import in_namespace, joined


def test_pairs_follow_the_files(tmp_path: Path) -> None:
    """`flow test FILE NAME VALUE ...` (CLI-13); further flows may stand between."""
    first, second = tmp_path / "a.yml", tmp_path / "b.yaml"
    first.touch()
    second.touch()

    files, pairs = flows_and_pairs([str(first), str(second), "name", "Ada", "file", "/tmp/x=y"])

    assert files == [first, second]
    assert pairs == ["name=Ada", "file=/tmp/x=y"]


def test_a_name_needs_its_value(tmp_path: Path) -> None:
    """Half a pair, and a flow that is not there, are refused."""
    (tmp_path / "a.yml").touch()
    with pytest.raises(click.UsageError, match="has no value"):
        flows_and_pairs([str(tmp_path / "a.yml"), "name"])
    with pytest.raises(click.UsageError, match="no file"):
        flows_and_pairs([str(tmp_path / "none.yml")])


def test_a_namespace_is_written_over() -> None:
    """Only the flow's own, in place; comments and the namespaces of tasks stay."""
    source = "id: x # one\nnamespace: dev\ntasks:\n  - namespace: other\n"

    assert in_namespace(source, "prod") == "id: x # one\nnamespace: prod\ntasks:\n  - namespace: other\n"
    assert in_namespace("id: x\n", "prod") == "namespace: prod\nid: x\n"


def test_documents_stay_byte_for_byte() -> None:
    """What is sent together is what is saved, so that a second time makes no revision."""
    assert joined(["a: 1\n", "b: 2", "c: 3\n"]) == b"a: 1\n---\nb: 2\n---\nc: 3\n"


def test_a_graph_is_drawn(tmp_path: Path) -> None:
    """`flow dot` writes a cluster for a flowable task and an edge for each step (CLI-14)."""
    flow = tmp_path / "par.yml"
    flow.write_text(
        "id: par\nnamespace: tests\ntasks:\n  - id: both\n    type: io.kestra.plugin.core.flow.Parallel\n    tasks:\n"
        "      - {id: a, type: io.kestra.plugin.core.log.Log, message: a}\n"
        "  - {id: last, type: io.kestra.plugin.core.log.Log, message: b}\n"
    )

    result = CliRunner().invoke(flowtide, ["flow", "dot", str(flow)], env={"HOME": str(tmp_path)})

    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.output.splitlines()]
    assert lines[0] == 'digraph "tests.par" {'
    assert 'subgraph "cluster_root.both" {' in lines
    assert '"root.both.a" [label="a\\nLog"];' in lines
    assert '"root.both.end" -> "root.last";' in lines
    assert lines[-1] == "}"
