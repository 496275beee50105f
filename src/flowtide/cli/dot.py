"""The graph of a flow as DOT, the language of Graphviz: a flow in, a text out (CLI-14)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flowtide.model.flow import Flow
from flowtide.model.flow_graph import flow_graph

_INDENT = "  "


def dot(flow: Flow) -> str:
    """The text of a directed graph; clusters are flowable tasks, points their beginnings and ends."""
    graph = flow_graph(flow)
    nodes = {node["uid"]: node for node in graph["nodes"]}
    name = json.dumps(f"{flow.namespace}.{flow.id}")
    lines = [f"digraph {name} {{", f"{_INDENT}rankdir=LR;", f"{_INDENT}node [shape=box, style=rounded];"]
    inside = {uid for cluster in graph["clusters"] for uid in cluster["nodes"]}
    below: dict[str, list[dict[str, Any]]] = {}
    for cluster in graph["clusters"]:
        parent = cluster["parents"][-1] if cluster["parents"] else ""
        below.setdefault(parent, []).append(cluster)

    def draw(parent: str, depth: int) -> None:
        for cluster in below.get(parent, ()):
            uid = cluster["cluster"]["uid"]
            lines.append(f"{_INDENT * depth}subgraph {json.dumps(uid)} {{")
            label = uid.removeprefix("cluster_").rpartition(".")[2]
            lines.append(f"{_INDENT * (depth + 1)}label={json.dumps(label)};")
            lines.extend(
                f"{_INDENT * (depth + 1)}{_node(nodes[each])}" for each in cluster["nodes"] if each in nodes
            )
            draw(uid, depth + 1)
            lines.append(f"{_INDENT * depth}}}")

    draw("", 1)
    lines.extend(f"{_INDENT}{_node(node)}" for uid, node in nodes.items() if uid not in inside)
    for edge in graph["edges"]:
        relation = edge["relation"]
        label = relation.get("value") or (
            "" if relation["relationType"] == "SEQUENTIAL" else relation["relationType"].lower()
        )
        shown = f" [label={json.dumps(label)}]" if label else ""
        lines.append(f"{_INDENT}{json.dumps(edge['source'])} -> {json.dumps(edge['target'])}{shown};")
    return "\n".join([*lines, "}"])


def _node(node: Mapping[str, Any]) -> str:
    declared = node.get("task") or node.get("triggerDeclaration")
    if declared is None:
        return f'{json.dumps(node["uid"])} [shape=point, label=""];'
    label = f"{declared['id']}\n{declared['type'].rpartition('.')[2]}"
    shape = ", shape=cds" if "triggerDeclaration" in node else ""
    return f"{json.dumps(node['uid'])} [label={json.dumps(label)}{shape}];"
