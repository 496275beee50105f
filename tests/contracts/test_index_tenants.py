"""Whatever is written and whatever is asked, a tenant sees its own documents and no other's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flowtide.index.embedded import EmbeddedIndex
from flowtide.index.port import Delete, Write
from flowtide.index.queries import (
    AllOf,
    AnyOf,
    Filter,
    HasLabel,
    LabelValues,
    Match,
    Operation,
    Query,
    Sort,
    Terms,
    Words,
)
from flowtide.model.records import Label
from flowtide.testing.contracts.index_samples import execution

TENANTS = ("main", "other", "main2")
FLOWS = ("a", "b", "main", "other")

changes = st.lists(
    st.tuples(
        st.sampled_from(TENANTS),
        st.integers(0, 5),  # which execution
        st.integers(0, 9),  # its version
        st.sampled_from(FLOWS),
        st.sampled_from(TENANTS),  # the value of a label
        st.booleans(),  # deleted instead of written
    ),
    max_size=25,
)
leaves: st.SearchStrategy[Filter] = st.one_of(
    st.builds(
        Match,
        st.sampled_from(["flowId", "id", "namespace", "parentId"]),
        st.sampled_from([Operation.EQUALS, Operation.NOT_EQUALS, Operation.CONTAINS, Operation.PREFIX]),
        st.sampled_from([*FLOWS, "execution00", "company", "", "%"]),
    ),
    st.builds(HasLabel, st.just("owner"), st.sampled_from([*TENANTS, None]), st.booleans()),
    st.builds(Words, st.sampled_from(["exec", "main", "oth", "company team", ""])),
)
filters = st.recursive(
    leaves,
    lambda inner: (
        st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple))
        | st.builds(AllOf, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(changes=changes, condition=filters, descending=st.booleans())
def test_tenants_never_mix(changes: Sequence[Any], condition: Filter, descending: bool) -> None:
    """Searches, scans, counts, groups and deletions over random documents and filters stay within the tenant."""
    asyncio.run(_check(changes, condition, descending))


async def _check(given_changes: Sequence[Any], condition: Filter, descending: bool) -> None:
    index = EmbeddedIndex(None, threaded=False)
    await index.start()
    expected: dict[tuple[str, str], tuple[int, str]] = {}
    batch: list[Write | Delete] = []
    for tenant, number, version, flow, owner, deleted in given_changes:
        name = f"execution{number:03d}"
        known = expected.get((tenant, name))
        if deleted:
            batch.append(Delete(kind="executions", tenant=tenant, id=name, version=version))
            if known is not None and known[0] <= version:
                del expected[tenant, name]
            continue
        labels = [Label(key="owner", value=owner)]
        batch.append(execution(number, version=version, tenant_id=tenant, flow_id=flow, labels=labels))
        if known is None or known[0] <= version:
            expected[tenant, name] = version, flow
    await index.write(batch)
    everything = AnyOf((condition, AllOf(())))
    for tenant in TENANTS:
        own = {name: value for (of, name), value in expected.items() if of == tenant}
        query = Query(kind="executions", filter=everything, size=100, sort=(Sort("flowId", descending),))
        page = await index.search(tenant, query)
        assert {one.id: (one.version, one.document["flowId"]) for one in page.results} == own
        assert {one.document["tenantId"] for one in page.results} <= {tenant}
        some = await index.search(tenant, Query(kind="executions", filter=condition, size=100))
        found = {one.id for one in some.results}
        assert {one.document["tenantId"] for one in some.results} <= {tenant}
        assert some.total == len(found) == await index.count(tenant, "executions", condition)
        scanned = [
            one.id async for part in index.scan(tenant, "executions", condition, size=2) for one in part
        ]
        assert scanned == sorted(found)
        for group in (Terms("flowId"), LabelValues("owner")):
            buckets = await index.aggregate(tenant, "executions", filter=condition, groups=[group])
            assert sum(bucket.count for bucket in buckets) == len(found)
    before = {tenant: await index.count(tenant, "executions") for tenant in TENANTS}
    gone = await index.delete("main", "executions", condition)
    assert await index.count("main", "executions") == before["main"] - gone
    assert [await index.count(tenant, "executions") for tenant in TENANTS[1:]] == [
        before[tenant] for tenant in TENANTS[1:]
    ]
    await index.close()
