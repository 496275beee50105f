"""The contract of what the API does with flows beside saving them one by one; one server for all tests."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import FormData

from tests.integration.api_requests import YAML, Api, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

RETURN = "io.kestra.plugin.core.debug.Return"
FLOWS = """
# kept
id: first
namespace: NS
labels: {team: core}
tasks:
  - id: one
    type: io.kestra.plugin.core.debug.Return
    format: "hi"   # kept too
  - {id: two, type: io.kestra.plugin.core.debug.Return, format: x}
---
id: second
namespace: NS
description: runs the first one
tasks:
  - {id: sub, type: io.kestra.plugin.core.flow.Subflow, namespace: NS, flowId: first}
---
id: third
namespace: NS
disabled: true
tasks:
  - {id: one, type: io.kestra.plugin.core.debug.Return, format: x}
triggers:
  - id: after
    type: io.kestra.plugin.core.trigger.Flow
    preconditions:
      id: p
      flows: [{namespace: NS, flowId: second}]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The server of this module."""
    async with serving(tmp_path_factory.mktemp("flows")) as started:
        yield started


def named(namespace: str, *ids: str) -> list[dict[str, str]]:
    """Flows as bodies name them."""
    return [{"namespace": namespace, "id": each} for each in ids]


def upload(name: str, content: bytes) -> FormData:
    """A form with the file of an import."""
    form = FormData(default_to_multipart=True)
    form.add_field("fileUpload", content, filename=name)
    return form


def archive(**files: str) -> bytes:
    """A ZIP archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items():
            packed.writestr(f"{name}.yml", text)
    return content.getvalue()


def edges(graph: dict[str, Any]) -> set[tuple[str, str, str]]:
    """The edges of a FlowGraph."""
    return {(each["source"], each["target"], each["relation"]["relationType"]) for each in graph["edges"]}


def links(graph: dict[str, Any]) -> set[tuple[str, str, str]]:
    """The edges of a FlowTopologyGraph, by the ids of flows."""
    names = {each["uid"]: each["id"] for each in graph["nodes"]}
    return {(names[each["source"]], names[each["target"]], each["relation"]) for each in graph["edges"]}


# --- many --------------------------------------------------------------------------------------------------------


async def test_flows_are_switched_off_and_on(api: Api) -> None:
    """What is off already does not count; the source keeps its comments."""
    await api.save(FLOWS, "switch")
    body = named("switch", "first", "third")
    assert await api.call("POST", "/flows/disable/by-ids", json=body) == {"count": 1}
    assert await api.call("POST", "/flows/disable/by-ids", json=body) == {"count": 0}
    shown = await api.get("/flows/switch/first?source=true")
    assert (shown["disabled"], shown["revision"]) == (True, 2)
    assert shown["source"].endswith("disabled: true\n")
    assert "# kept too" in shown["source"]
    query = "/by-query?filters[namespace][EQUALS]=switch"
    assert await api.call("POST", "/flows/enable" + query) == {"count": 2}
    assert "disabled: false" in (await api.get("/flows/switch/third?source=true"))["source"]
    assert await api.call("POST", "/flows/disable" + query + "&filters[flowId][EQUALS]=second") == {
        "count": 1
    }
    assert await api.call("POST", "/flows/enable/by-ids", json=named("switch", "second")) == {"count": 1}
    await api.call("POST", "/flows/enable/by-ids", 404, json=named("switch", "nope"))
    await api.call("POST", "/flows/enable/by-ids", 400, json=["first"])


async def test_flows_are_deleted_by_filters(api: Api) -> None:
    """Those that are found, at once; a second time none."""
    await api.save(FLOWS, "gone")
    query = "/flows/delete/by-query?filters[or][0][labels][EQUALS][team]=core&filters[namespace][EQUALS]=gone"
    assert await api.call("DELETE", query) == {"count": 1}
    await api.get("/flows/gone/first", 404)
    assert await api.call("DELETE", query) == {"count": 0}
    assert await api.call("DELETE", "/flows/delete/by-ids", json=named("gone", "second", "third")) == {
        "count": 2
    }
    assert await api.get("/flows/gone") == []
    await api.call("DELETE", "/flows/delete/by-query?filters[kind][EQUALS]=x", 400)


# --- files -------------------------------------------------------------------------------------------------------


async def test_an_export_can_be_imported(api: Api) -> None:
    """The archive has each source byte for byte, and brings the flows back."""
    await api.save(FLOWS, "zip")
    content = await api.get("/flows/export/by-query?filters[namespace][EQUALS]=zip")
    packed = zipfile.ZipFile(io.BytesIO(content))
    assert sorted(packed.namelist()) == ["zip.first.yml", "zip.second.yml", "zip.third.yml"]
    source = (await api.get("/flows/zip/first?source=true"))["source"]
    assert packed.read("zip.first.yml").decode() == source
    one = await api.call("POST", "/flows/export/by-ids", json=named("zip", "second"))
    assert zipfile.ZipFile(io.BytesIO(one)).namelist() == ["zip.second.yml"]
    await api.call("POST", "/flows/export/by-ids", 404, json=named("zip", "nope"))
    await api.call("DELETE", "/flows/delete/by-query?filters[namespace][EQUALS]=zip")
    assert await api.call("POST", "/flows/import", data=upload("a.zip", content)) == []
    assert (await api.get("/flows/zip/first?source=true"))["source"] == source


async def test_a_wrong_flow_does_not_keep_others_from_being_imported(api: Api) -> None:
    """Its file, or its place in the YAML, is answered; with `failOnError` nothing is saved."""
    good = f"id: good\nnamespace: imp\ntasks: [{{id: a, type: {RETURN}}}]\n"
    bad = "id: bad\nnamespace: imp\ntasks: []\n"
    both = archive(good=good, bad=bad)
    await api.call("POST", "/flows/import?failOnError=true", 422, data=upload("a.zip", both))
    await api.get("/flows/imp/good", 404)
    assert await api.call("POST", "/flows/import", data=upload("a.zip", both)) == ["bad.yml"]
    assert (await api.get("/flows/imp/good"))["revision"] == 1
    yaml = f"{bad}---\n{good.replace('good', 'better')}".encode()
    assert await api.call("POST", "/flows/import", data=upload("flows.yaml", yaml)) == ["0"]
    await api.get("/flows/imp/better")


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("noextension", b"id: x", 422),
        ("a.txt", b"id: x", 422),
        ("a.zip", b"PK no archive", 422),
        ("a.yml", b"\xff\xfe", 400),
        ("bomb.zip", archive(big="# " + "x" * 30_000_000), 413),
    ],
)
async def test_what_is_no_import_is_refused(api: Api, name: str, content: bytes, status: int) -> None:
    """Also an archive that is small and becomes large."""
    await api.call("POST", "/flows/import", status, data=upload(name, content))


async def test_flows_are_exported_as_csv(api: Api) -> None:
    """A line for each flow that the filters find."""
    await api.save(FLOWS, "csv")
    text = (await api.get("/flows/export/by-query/csv?filters[namespace][EQUALS]=csv")).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in rows] == ["first", "second", "third"]
    assert (rows[0]["labels"], rows[2]["disabled"]) == ('{"team": "core"}', "true")


# --- graphs ------------------------------------------------------------------------------------------------------


async def test_the_graph_of_a_source_shows_each_construct(api: Api) -> None:
    """Branches, loops, dependencies and handlers are edges of their kinds; every flowable task is a cluster."""
    source = f"""
id: graph
namespace: drawn
tasks:
  - id: choice
    type: io.kestra.plugin.core.flow.If
    condition: "{{{{ true }}}}"
    then: [{{id: yes_, type: {RETURN}}}]
  - id: dag
    type: io.kestra.plugin.core.flow.Dag
    tasks:
      - {{task: {{id: b, type: {RETURN}}}, dependsOn: [a]}}
      - {{task: {{id: a, type: {RETURN}}}}}
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [1, 2]
    tasks: [{{id: inner, type: {RETURN}}}]
errors: [{{id: oops, type: {RETURN}}}]
finally: [{{id: at_last, type: {RETURN}}}]
afterExecution: [{{id: after, type: {RETURN}}}]
triggers: [{{id: daily, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 9 * * *"}}]
"""
    graph = await api.call("POST", "/flows/graph", data=source.encode(), headers=YAML)
    assert {
        ("root.choice", "root.choice.yes_", "CHOICE"),
        ("root.choice", "root.choice.end", "SEQUENTIAL"),
        ("root.dag", "root.dag.a", "PARALLEL"),
        ("root.dag.a", "root.dag.b", "SEQUENTIAL"),
        ("root.dag.b", "root.dag.end", "SEQUENTIAL"),
        ("root.each", "root.each.inner", "DYNAMIC"),
        ("root.start", "root.oops", "ERROR"),
        ("root.each.end", "root.at_last", "FINALLY"),
        ("root.oops", "root.at_last", "FINALLY"),
        ("root.end", "root.after", "AFTER_EXECUTION"),
        ("root.Triggers.daily", "root.start", "SEQUENTIAL"),
    } <= edges(graph)
    uids = {each["uid"] for each in graph["nodes"]}
    assert {end for each in graph["edges"] for end in (each["source"], each["target"])} <= uids
    assert len(uids) == len(graph["nodes"])
    clusters = {each["cluster"]["uid"] for each in graph["clusters"]}
    assert clusters == {
        "cluster_root.choice",
        "cluster_root.dag",
        "cluster_root.each",
        "cluster_root.Triggers",
    }
    assert graph["flowables"] == ["choice", "dag", "each"]
    kinds = {each["uid"]: each.get("branchType") for each in graph["nodes"]}
    assert (kinds["root.oops"], kinds["root.at_last"]) == ("ERROR", "FINALLY")
    await api.call("POST", "/flows/graph", 422, data=b"id: x", headers=YAML)


async def test_the_graph_of_a_saved_flow_opens_subflows(api: Api) -> None:
    """The flow of a Subflow task is a node, and with `subflows` a cluster with its tasks."""
    await api.save(FLOWS, "drawn")
    closed = await api.get("/flows/drawn/second/graph")
    assert [each["uid"] for each in closed["nodes"]] == ["root.start", "root.sub", "root.end"]
    opened = await api.get("/flows/drawn/second/graph?subflows=root.sub&revision=1")
    assert {"root.sub.one", "root.sub.two"} <= {each["uid"] for each in opened["nodes"]}
    assert opened["clusters"][0]["cluster"]["type"].endswith("SubflowGraphCluster")
    await api.get("/flows/drawn/nope/graph", 404)
    await api.get("/flows/drawn/second/graph?revision=9", 404)


async def test_flows_depend_on_each_other(api: Api) -> None:
    """By subflows and by Flow triggers, one step or all, to both sides or only onwards."""
    await api.save(FLOWS, "deps")
    path = "/flows/deps/second/dependencies"
    both = {("second", "first", "FLOW_TASK"), ("second", "third", "FLOW_TRIGGER")}
    assert links(await api.get(path)) == both
    assert links(await api.get("/flows/deps/first/dependencies")) == {("second", "first", "FLOW_TASK")}
    assert links(await api.get("/flows/deps/first/dependencies?destinationOnly=true")) == set()
    assert links(await api.get("/flows/deps/first/dependencies?expandAll=true")) == both
    whole = await api.get("/namespaces/deps/dependencies")
    assert links(whole) == both
    assert {each["uid"] for each in whole["nodes"]} == {
        f"main_deps_{each}" for each in ("first", "second", "third")
    }
    await api.call("DELETE", "/flows/deps/third", 204)
    assert links(await api.get(path)) == {("second", "first", "FLOW_TASK")}
    await api.get("/flows/deps/nope/dependencies", 404)


# --- parts -------------------------------------------------------------------------------------------------------


async def test_single_tasks_and_triggers_are_validated(api: Api) -> None:
    """As JSON or YAML; `constraints` only where something is wrong, with paths within the part."""
    good = {"id": "a", "type": RETURN}
    answer = await api.call("POST", "/flows/validate/task?section=TASKS", json=good)
    assert "constraints" not in answer
    assert answer["index"] == 0
    yaml = f"id: a\ntype: {RETURN}\nnope: 1\n".encode()
    answer = await api.call("POST", "/flows/validate/task?section=TASKS", data=yaml, headers=YAML)
    assert answer["constraints"].startswith("nope")
    schedule = {"id": "t", "type": "io.kestra.plugin.core.trigger.Schedule", "cron": "x"}
    assert "cron" in (await api.call("POST", "/flows/validate/trigger", json=schedule))["constraints"]
    trigger = {**schedule, "cron": "* * * * *"}
    assert "constraints" not in await api.call("POST", "/flows/validate/task?section=TRIGGERS", json=trigger)
    await api.call("POST", "/flows/validate/task", 422, json=good)
    await api.call("POST", "/flows/validate/trigger", 400, json=[1])


async def test_a_task_is_replaced_in_its_source(api: Api) -> None:
    """The rest of the text stays; the answer is the flow's next revision."""
    await api.save(FLOWS, "patch")
    task = {"id": "one", "type": RETURN, "format": "bye: ä # no comment"}
    answer = await api.call("PATCH", "/flows/patch/first/one", json=task)
    assert answer["revision"] == 2
    assert "source" not in answer
    source = (await api.get("/flows/patch/first?source=true"))["source"]
    assert source.startswith("# kept\nid: first")
    assert "{id: two, type" in source
    assert await api.get("/flows/patch/first/tasks/one") == task
    assert (await api.get("/flows/patch/first/tasks/one?revision=1"))["format"] == "hi"
    await api.call("PATCH", "/flows/patch/first/one", 422, json={**task, "id": "other"})
    await api.call("PATCH", "/flows/patch/first/one", 422, json={"id": "one", "type": "no.such.Task"})
    await api.call("PATCH", "/flows/patch/first/nope", 404, json={**task, "id": "nope"})
    await api.call("PATCH", "/flows/patch/nope/one", 404, json=task)
    await api.call("PATCH", "/flows/patch/first/one", 400, json=[])


async def test_expressions_that_a_task_can_use(api: Api) -> None:
    """Inputs, variables, and the outputs of the tasks before it."""
    source = f"""
id: x
namespace: expr
inputs: [{{id: who-else, type: STRING}}]
variables: {{color: blue}}
tasks:
  - {{id: a, type: {RETURN}}}
  - {{id: b, type: {RETURN}}}
""".encode()
    found = await api.call("POST", "/flows/expressions?taskId=b", data=source, headers=YAML)
    assert {"inputs['who-else']", "vars.color", "outputs.a", "flow.id"} <= set(found)
    assert "outputs.b" not in found
    await api.call("POST", "/flows/expressions?taskId=z", 404, data=source, headers=YAML)
    await api.call("POST", "/flows/expressions", 422, data=b"id: x", headers=YAML)


# --- sources and revisions ---------------------------------------------------------------------------------------


async def test_sources_are_searched_in_both_forms(api: Api) -> None:
    """Fragments for clients of 1.3, places for those of 2.0; how to search is theirs to say."""
    await api.save(FLOWS, "find")
    found = await api.get("/flows/source?q=KEPT&namespace=find")
    assert found["total"] == 1
    assert found["results"][0]["model"]["id"] == "first"
    assert found["results"][0]["fragments"][0] == "# [mark]kept[/mark]"
    later = await api.get("/flows/source?q=kep[a-z]&regex=true&namespace=find")
    assert later["results"][0]["matches"][0] == {"line": 1, "column": 3, "snippet": "# kept"}
    assert (await api.get("/flows/source?q=KEPT&caseSensitive=true&namespace=find"))["total"] == 0
    assert (await api.get("/flows/source?q=kep&wholeWord=true&namespace=find"))["total"] == 0
    assert (await api.get("/flows/source?namespace=find&page=9"))["results"] == []
    await api.get("/flows/source?q=(&regex=true", 400)


async def test_sources_are_hashed_and_asked_for_what_is_deprecated(api: Api) -> None:
    """A hash by the name of each flow; only flows with something deprecated are listed."""
    await api.save(FLOWS, "old")
    hashes = await api.call("POST", "/flows/hashes/by-ids", json=named("old", "first", "second"))
    assert set(hashes) == {"old/first", "old/second"}
    assert len(hashes["old/first"]) == 64
    await api.save(
        f"id: past\nnamespace: NS\ninputs: [{{name: x, type: STRING}}]\ntasks: [{{id: a, type: {RETURN}}}]",
        "old",
    )
    (found,) = await api.get("/flows/deprecated?namespace=old")
    assert (found["id"], len(found["deprecations"])) == ("past", 1)


async def test_former_revisions_are_forgotten(api: Api) -> None:
    """Those that are named, at once and for good; the latest one stays, and what is no number is refused."""
    for text in ("a", "b", "c"):
        await api.save(f"id: rev\nnamespace: NS\ntasks: [{{id: {text}, type: {RETURN}}}]", "revs")
    path = "/flows/revs/rev/revisions"
    await api.call("DELETE", f"{path}?revisions=1,2", 204)
    assert [each["revision"] for each in await api.get(path)] == [3]
    await api.get("/flows/revs/rev?revision=1", 404)
    await api.call("DELETE", f"{path}?revisions=3", 422)
    await api.call("DELETE", f"{path}?revisions=1", 404)
    await api.call("DELETE", f"{path}?revisions=x", 422)
    await api.call("DELETE", path, 422)
    await api.call("DELETE", "/flows/revs/nope/revisions?revisions=1", 404)


# --- paths -------------------------------------------------------------------------------------------------------


async def test_a_slash_at_the_end_of_a_path_changes_nothing(api: Api) -> None:
    """Also of one with a body; what is not there is not there with a slash either."""
    await api.save(FLOWS, "slash")
    assert (await api.get("/flows/search/?filters[namespace][EQUALS]=slash"))["total"] == 3
    assert (await api.get("/flows/slash/first/"))["id"] == "first"
    assert await api.call("POST", "/flows/disable/by-ids/", json=named("slash", "first")) == {"count": 1}
    await api.get("/nothing/here/", 404)


async def test_an_escaped_slash_stays_within_its_segment(api: Api) -> None:
    """`%2F` is part of an id, and opens no other path."""
    await api.save(FLOWS, "escaped")
    await api.get("/flows/escaped%2Ffirst", 404)
    await api.get("/flows/escaped/first/tasks/one%2Ftwo", 404)
    await api.get("/flows/escaped/first%2Fgraph", 404)
