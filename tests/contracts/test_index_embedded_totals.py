"""The embedded index counts from running totals and remembers counts; both must be what looking at all would give."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flowtide.index.embedded import EmbeddedIndex
from flowtide.index.port import Delete
from flowtide.index.queries import AllOf, Filter, HasLabel, Query, Sort, Words, where
from flowtide.model.records import Label
from flowtide.model.states import State
from flowtide.testing.contracts.index_samples import execution, line, match

_MANY = 1_100  # more than what is taken for rare

_FILTERS: tuple[Filter | None, ...] = (
    None,
    where(namespace="company.team"),
    where(state="FAILED"),
    AllOf((match("namespace", "PREFIX", "company"), match("kind", "NOT_IN", ["TEST"]))),
    match("flowId", "CONTAINS", "nothing"),
)


@pytest.fixture
async def index() -> AsyncIterator[EmbeddedIndex]:
    opened = EmbeddedIndex(None, threaded=False)
    await opened.start()
    yield opened
    await opened.close()


async def _agree(index: EmbeddedIndex) -> list[int]:
    """Every filter gives the same number by totals and by looking at each; these numbers."""
    found = []
    for condition in _FILTERS:
        by_totals = await index.count("main", "executions", condition)
        # A condition on a date is none that totals are kept for, and this one excludes nothing.
        dated = [match("startDate", "IS_NOT_NULL")] if condition is None else [condition]
        looked_at = await index.count(
            "main", "executions", AllOf((*dated, match("startDate", "IS_NOT_NULL")))
        )
        assert by_totals == looked_at, condition
        found.append(by_totals)
    return found


async def test_totals_follow_every_write(index: EmbeddedIndex) -> None:
    """Creations, changes of state, outdated writes, deletions and a clearing all leave the totals right."""
    await index.write([execution(number, version=number) for number in range(1, 7)])
    assert await _agree(index) == [6, 6, 0, 6, 0]
    await index.write([execution(number, version=10, ended=State.FAILED) for number in (1, 2)])
    assert await _agree(index) == [6, 6, 2, 6, 0]
    await index.write(
        [execution(1, version=9), execution(7, version=11, kind="TEST")]
    )  # the first is outdated
    assert await _agree(index) == [7, 7, 2, 6, 0]
    await index.write([Delete(kind="executions", tenant="main", id="execution002", version=12)])
    assert await _agree(index) == [6, 6, 1, 5, 0]
    await index.delete("main", "executions", where(state="FAILED"))
    assert await _agree(index) == [5, 5, 0, 4, 0]
    assert await index.count("other", "executions") == 0
    await index.clear(["executions"])
    assert await _agree(index) == [0, 0, 0, 0, 0]


async def test_a_remembered_count_is_forgotten_with_the_next_write(index: EmbeddedIndex) -> None:
    """A count is right again at once after a write, and after a deletion."""
    labelled = HasLabel("team", "a")
    marks = [Label(key="team", value="a")]
    for number in (1, 2, 3):
        await index.write([execution(number, version=number, labels=marks)])
        assert await index.count("main", "executions", labelled) == number
    await index.delete("main", "executions", where(id="execution001"))
    assert await index.count("main", "executions", labelled) == 2


async def test_it_says_whether_a_kind_was_written(index: EmbeddedIndex) -> None:
    """The number of writes of a kind changes with its writes and deletions, and with nothing else."""
    before = index.writes("executions")
    await index.write([line(1, "hello")])
    assert index.writes("executions") == before
    await index.write([execution(1)])
    written = index.writes("executions")
    assert written != before
    await index.delete("main", "executions")
    assert index.writes("executions") != written


async def test_common_and_rare_parts_find_the_same(index: EmbeddedIndex) -> None:
    """A label and a word that nearly all have are found as those that a few have: newest first, with the total."""
    await index.write(
        [
            execution(
                number,
                version=number,
                labels=[Label(key="size", value="many" if number < _MANY else "few")],
                namespace="company.many" if number < _MANY else "company.few",
            )
            for number in range(1, _MANY + 50)
        ]
    )
    for condition, total, newest in (
        (HasLabel("size", "many"), _MANY - 1, _MANY - 1),
        (HasLabel("size", "few"), 50, _MANY + 49),
        (Words("MANY"), _MANY - 1, _MANY - 1),
        (Words("pany.few"), 50, _MANY + 49),
    ):
        query = Query(
            kind="executions", filter=condition, sort=(Sort("startDate", descending=True),), size=10
        )
        page = await index.search("main", query)
        assert page.total == total
        assert [each.id for each in page.results] == [execution(newest - place).id for place in range(10)]
    page = await index.search("main", Query(kind="executions", filter=Words("execution1100"), size=10))
    assert [each.id for each in page.results] == ["execution1100"]
