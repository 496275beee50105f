"""What every adapter of the index port must do.

A test module derives a class from `IndexContract` and gives it the fixture `index`: a started, empty index.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from flowtide.errors import IndexQueryInvalid
from flowtide.index import documents
from flowtide.index.flow_documents import flow_document
from flowtide.index.history import as_of
from flowtide.index.kinds import KINDS, event_id, numbered_id
from flowtide.index.port import Delete, Index, at_least
from flowtide.index.queries import (
    AllOf,
    AnyOf,
    Bucket,
    Dates,
    Filter,
    HasLabel,
    LabelValues,
    Measure,
    Query,
    Slices,
    Sort,
    Terms,
    Words,
    where,
)
from flowtide.model import events as e
from flowtide.model.audit import Actor, AuditAction, AuditEntry
from flowtide.model.entries import Level, MetricEntry
from flowtide.model.records import ENCODER, Label
from flowtide.model.resources import FlowBody, Resource
from flowtide.model.services import ServiceInstance, ServiceState, ServiceType
from flowtide.model.states import State
from flowtide.model.trigger_records import TriggerState
from flowtide.testing.contracts.index_samples import (
    CAUSE,
    FILTERS,
    INTERVALS,
    REFUSED,
    SORTINGS,
    START,
    created,
    execution,
    history,
    ids,
    line,
    match,
    put,
)


class IndexContract:
    """The contract of `flowtide.index.port.Index`."""

    @pytest.fixture
    def index(self) -> Index:
        """A started, empty index, closed afterwards."""
        raise NotImplementedError

    # --- writing ------------------------------------------------------------------------------------------------

    async def test_a_written_document_is_read_back_byte_for_byte(self, index: Index) -> None:
        """What `get` gives is the document that was written, at once, and its version."""
        write = execution(1, version=7)
        assert await index.write([write]) == {}
        found = await index.get("executions", "main", "execution001")
        assert found is not None
        assert found.document == msgspec.json.decode(write.body)
        assert found.version == 7
        assert await index.get("executions", "main", "nothing") is None

    async def test_writing_twice_changes_nothing(self, index: Index) -> None:
        """The same batch again, as after a crash of the indexer, leaves one document each."""
        batch = [
            execution(1, version=3),
            *(documents.event_write(event, ENCODER.encode(event), event.number) for event in history()),
            line(1, "once"),
        ]
        await put(index, *batch)
        await put(index, *batch)
        assert await index.count("main", "executions") == 1
        assert await index.count("main", "events") == 7
        assert await index.count("main", "logs") == 1

    async def test_a_lower_version_never_overwrites_a_higher_one(self, index: Index) -> None:
        """Late writes of older positions are ignored; an equal position is written again."""
        await put(index, execution(1, version=5, flow_revision=5))
        await put(index, execution(1, version=4, flow_revision=4))
        found = await index.get("executions", "main", "execution001")
        assert found is not None
        assert found.document["flowRevision"] == 5
        await put(index, execution(1, version=5, flow_revision=55))
        found = await index.get("executions", "main", "execution001")
        assert found is not None
        assert found.document["flowRevision"] == 55

    async def test_the_last_of_several_writes_in_a_batch_stands(self, index: Index) -> None:
        """A batch is written in its order."""
        await put(index, *(execution(1, version=number, flow_revision=number) for number in range(1, 40)))
        page = await index.search("main", Query(kind="executions"))
        assert [found.document["flowRevision"] for found in page.results] == [39]

    async def test_a_deletion_of_a_lower_version_does_nothing(self, index: Index) -> None:
        """A document is deleted only by a position that is not before its own."""
        await put(index, execution(1, version=5), execution(2, version=5))
        await put(
            index,
            Delete(kind="executions", tenant="main", id="execution001", version=4),
            Delete(kind="executions", tenant="main", id="execution002", version=6),
            Delete(kind="executions", tenant="main", id="unknown", version=6),
        )
        assert await ids(index, "executions", None) == ["execution001"]

    async def test_every_kind_is_written_found_and_deleted(self, index: Index) -> None:
        """Flows, triggers, servers, metrics and the rest live side by side."""
        resource = Resource(
            revision=3, updated=START, body=msgspec.Raw(ENCODER.encode(FlowBody(source="id: hello")))
        )
        flow = flow_document(resource, tenant="main", namespace="company.team", flow_id="hello")
        trigger = TriggerState(
            tenant_id="main",
            namespace="company.team",
            flow_id="hello",
            trigger_id="daily",
            flow_revision=1,
            type="schedule",
            updated=START,
        )
        metric = MetricEntry(
            tenant_id="main",
            namespace="company.team",
            flow_id="hello",
            execution_id="execution000",
            task_id="a",
            task_run_id="r",
            name="rows",
            type="counter",
            value=3,
            timestamp=START,
        )
        server = ServiceInstance(
            id="worker-1",
            type=ServiceType.WORKER,
            state=ServiceState.RUNNING,
            host="here",
            version="1",
            started=START,
            heartbeat=START,
        )
        entry = AuditEntry(
            id="entry-1",
            tenant_id="main",
            date=START,
            action=AuditAction.UPDATE,
            resource="FLOW",
            actor=Actor(id="ada@company.team"),
            details={"id": "hello", "namespace": "company.team"},
        )
        run = documents.fold_task_run(None, history()[2], documents.fold_execution(None, history()[0]))
        assert run is not None
        await put(
            index,
            documents.write_of("flows", tenant="main", id="company.team/hello", version=1, document=flow),
            documents.trigger_write(trigger, 1),
            documents.metric_write(metric, ENCODER.encode(metric), 0, 1),
            documents.service_write(server, 1),
            documents.audit_write(entry, 1),
            documents.task_run_write(run, 1),
            documents.event_write(history()[0], ENCODER.encode(history()[0]), 0),
            line(1, "words"),
            execution(1),
        )
        for kind in KINDS:
            tenant = "_system" if kind == "services" else "main"
            assert await index.count(tenant, kind) == 1, kind
            portions = [portion async for portion in index.scan(tenant, kind)]
            assert len(portions) == 1, kind
            [found] = portions[0]
            assert await index.get(kind, tenant, found.id) == found, kind
            assert await index.delete(tenant, kind) == 1, kind
            await index.refresh()
            assert await index.count(tenant, kind) == 0, kind

    async def test_a_document_that_does_not_fit_is_refused_alone(self, index: Index) -> None:
        """One bad document of a batch is named with the reason; the others are written."""
        bad = msgspec.structs.replace(execution(2), body=b"no JSON", values=(None,) * 14)
        refused = await index.write([execution(1), bad, execution(3)])
        await index.refresh()
        assert list(refused) == [1]
        assert refused[1]
        assert await ids(index, "executions", None) == ["execution001", "execution003"]

    async def test_clearing_forgets_documents_and_versions(self, index: Index) -> None:
        """After `clear` older positions may be written again, as indexing anew does."""
        await put(index, execution(1, version=9), execution(1, tenant_id="other"), line(1, "kept"))
        await index.clear(["executions"])
        await put(index, execution(1, version=1))
        assert await ids(index, "executions", None) == ["execution001"]
        assert await ids(index, "executions", None, tenant="other") == []
        assert await index.count("main", "logs") == 1

    # --- tenants ------------------------------------------------------------------------------------------------

    async def test_tenants_never_mix(self, index: Index) -> None:
        """No way of reading or deleting gives one tenant the documents of another, whatever the ids."""
        both = [
            execution(number, tenant_id=tenant, labels=[Label(key="owner", value=tenant)])
            for tenant in ("main", "other")
            for number in (1, 2)
        ]
        await put(index, *both)
        anything: list[Filter | None] = [
            None,
            where(namespace="company.team"),
            AnyOf(
                (match("id", "STARTS_WITH", "exec"), HasLabel("owner", "main"), HasLabel("owner", "other"))
            ),
            Words("execution"),
            HasLabel("owner"),
        ]
        for tenant in ("main", "other"):
            for condition in anything:
                page = await index.search(tenant, Query(kind="executions", filter=condition))
                assert {found.document["tenantId"] for found in page.results} == {tenant}
                assert page.total == 2
                assert await index.count(tenant, "executions", condition) == 2
                assert [
                    bucket.count for bucket in await index.aggregate(tenant, "executions", filter=condition)
                ] == [2]
                scanned = [
                    found
                    async for portion in index.scan(tenant, "executions", condition)
                    for found in portion
                ]
                assert {found.document["tenantId"] for found in scanned} == {tenant}
            owners = await index.aggregate(tenant, "executions", groups=[LabelValues("owner")])
            assert owners == [Bucket(keys=(tenant,), count=2)]
        assert await ids(index, "executions", HasLabel("owner", "main"), tenant="other") == []
        assert await index.delete("other", "executions") == 2
        await index.refresh()
        assert await index.count("main", "executions") == 2
        assert await index.get("executions", "other", "execution001") is None

    async def test_a_tenants_text_cannot_reach_another_tenant(self, index: Index) -> None:
        """Whatever a person puts into a filter is compared, never executed."""
        await put(index, execution(1, tenant_id="other"), execution(2))
        for text in ("' OR 1=1 --", '" OR tenant:other', "*", "a/../other", "%", "_", "\\", "tenantId:other"):
            for condition in (
                match("id", "EQUALS", text),
                match("id", "CONTAINS", text),
                HasLabel(text, text),
            ):
                assert await ids(index, "executions", condition) == [], (text, condition)
            found = await ids(index, "executions", Words(text))
            assert found in ([], ["execution002"]), text

    # --- filters ------------------------------------------------------------------------------------------------

    async def test_filters_find_what_they_say(self, index: Index) -> None:
        """Each operation, on each type of field, finds exactly the documents that it describes."""
        states = {0: State.FAILED, 6: State.FAILED, 9: None}
        labels = {0: "red", 1: "blue"}
        namespaces = {5: "companyother", 7: "company.teamwork"}
        writes = [
            execution(
                number,
                ended=states.get(number, State.SUCCESS),
                flow_id="world" if number % 2 else "hello",
                flow_revision=number,
                namespace=namespaces.get(number, "company.team.data" if number == 8 else "company.team"),
                labels=[Label(key="team", value=labels[number])] if number in labels else [],
                schedule_date=START if number == 5 else None,
            )
            for number in range(10)
        ]
        third = documents.fold_execution(None, created(3, flow_id="world", flow_revision=3))
        documents.fold_execution(
            third,
            e.ExecutionEnded(
                tenant_id="main",
                execution_id="execution003",
                number=1,
                at=START + timedelta(minutes=3, seconds=3),
                cause=CAUSE,
                state=State.SUCCESS,
            ),
        )
        third["parentId"] = "execution000"
        writes[3] = documents.execution_write(third, 0)
        await put(index, *writes)
        for condition, expected in FILTERS:
            found = await ids(index, "executions", condition)
            assert "".join(name[-1] for name in found) == expected, condition

    async def test_what_cannot_be_asked_is_refused(self, index: Index) -> None:
        """An unknown field, a value of the wrong type and the like raise IndexQueryInvalid."""
        for kind, condition in REFUSED:
            with pytest.raises(IndexQueryInvalid):
                await index.search("main", Query(kind=kind, filter=condition))

    # --- sorting and paging --------------------------------------------------------------------------------------

    async def test_sorting_by_several_fields(self, index: Index) -> None:
        """The first field decides, then the next, then the id; documents without the field come last."""
        await put(
            index,
            execution(1, flow_id="b", ended=State.SUCCESS),
            execution(2, flow_id="a", ended=State.FAILED),
            execution(3, flow_id="b", ended=State.FAILED),
            execution(4, flow_id="a"),
        )

        async def order(*sort: Sort) -> str:
            return "".join(name[-1] for name in await ids(index, "executions", None, sort=sort))

        assert await order() == "1234"
        assert await order(Sort("startDate", descending=True)) == "4321"
        assert await order(Sort("flowId"), Sort("startDate", descending=True)) == "4231"
        assert await order(Sort("flowId", descending=True)) == "1324"
        assert await order(Sort("endDate")) == "1234"
        assert await order(Sort("endDate", descending=True)) == "3214"
        assert await order(Sort("duration", descending=True), Sort("id")) == "3214"

    async def test_pages_and_cursors_give_everything_once(self, index: Index) -> None:
        """Both ways of paging walk through the same order without gaps and doubles."""
        await put(
            index,
            *(
                execution(number, flow_id=f"flow{number % 3}", ended=State.SUCCESS if number % 4 else None)
                for number in range(23)
            ),
        )
        for sort in SORTINGS:
            await self.walk(index, sort)

    async def walk(self, index: Index, sort: tuple[Sort, ...]) -> None:
        """Compare pages, cursors and the whole of 23 executions in one order."""
        whole = await ids(index, "executions", None, sort=sort, size=100)
        assert len(set(whole)) == 23
        paged = [await ids(index, "executions", None, sort=sort, size=5, page=page) for page in range(1, 7)]
        assert [len(page) for page in paged] == [5, 5, 5, 5, 3, 0]
        assert [name for page in paged for name in page] == whole
        walked: list[str] = []
        after: str | None = None
        while True:
            page = await index.search("main", Query(kind="executions", sort=sort, size=5, after=after))
            assert page.total == 23
            walked.extend(found.id for found in page.results)
            after = page.next
            if after is None:
                break
        assert walked == whole

    async def test_a_page_far_beyond_the_end_is_empty(self, index: Index) -> None:
        """Neither a large page number nor a size of nought is an error."""
        await put(index, execution(1))
        page = await index.search("main", Query(kind="executions", page=1_000_000, size=100))
        assert page.results == []
        assert page.total == 1
        page = await index.search("main", Query(kind="executions", size=0))
        assert (page.results, page.total, page.next) == ([], 1, None)

    async def test_pages_out_of_bounds_and_foreign_cursors_are_refused(self, index: Index) -> None:
        """What cannot be a page raises IndexQueryInvalid."""
        for query in (
            Query(kind="executions", page=0),
            Query(kind="executions", size=-1),
            Query(kind="executions", size=10_001),
            Query(kind="executions", after="garbage"),
            Query(kind="executions", after="WzEsMiwzXQ"),
        ):
            with pytest.raises(IndexQueryInvalid):
                await index.search("main", query)

    async def test_a_scan_gives_everything_in_portions(self, index: Index) -> None:
        """Export and purge see each document once."""
        await put(index, *(execution(number, ended=State.SUCCESS) for number in range(25)))
        portions = [
            portion async for portion in index.scan("main", "executions", where(state="SUCCESS"), size=10)
        ]
        assert [len(portion) for portion in portions] == [10, 10, 5]
        assert [found.id for portion in portions for found in portion] == [
            f"execution{n:03d}" for n in range(25)
        ]
        assert [portion async for portion in index.scan("main", "executions", where(state="FAILED"))] == []

    async def test_deleting_by_filter(self, index: Index) -> None:
        """What matches goes, and what free text and labels knew of it goes too; the rest stays."""
        await put(
            index,
            *(
                execution(
                    number, flow_id="hello" if number < 4 else "world", labels=[Label(key="a", value="b")]
                )
                for number in range(7)
            ),
        )
        assert await index.delete("main", "executions", where(flowId="hello")) == 4
        await index.refresh()
        assert len(await ids(index, "executions", None)) == 3
        assert len(await ids(index, "executions", HasLabel("a", "b"))) == 3
        assert await ids(index, "executions", Words("hello")) == []
        assert await index.delete("main", "executions", where(flowId="hello")) == 0

    # --- aggregations -------------------------------------------------------------------------------------------

    async def test_counting_by_groups(self, index: Index) -> None:
        """Groups by value, by label and by date, alone and together, in the order of their keys."""
        await put(
            index,
            *(
                execution(
                    number,
                    ended=State.FAILED if number % 3 == 0 else State.SUCCESS,
                    flow_id="hello" if number < 5 else "world",
                    at=START + timedelta(hours=number * 10),
                    labels=[Label(key="team", value="red")] if number in (1, 2) else [],
                )
                for number in range(6)
            ),
        )
        assert await index.aggregate("main", "executions", groups=[Terms("state")]) == [
            Bucket(keys=("FAILED",), count=2),
            Bucket(keys=("SUCCESS",), count=4),
        ]
        days = await index.aggregate(
            "main", "executions", groups=[Dates("startDate", "day"), Terms("flowId")]
        )
        first, second, third = (datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2, 3))
        assert days == [
            Bucket(keys=(first, "hello"), count=2),
            Bucket(keys=(second, "hello"), count=2),
            Bucket(keys=(third, "hello"), count=1),
            Bucket(keys=(third, "world"), count=1),
        ]
        assert await index.aggregate("main", "executions", groups=[LabelValues("team")]) == [
            Bucket(keys=("red",), count=2)
        ]
        filtered = await index.aggregate(
            "main", "executions", filter=where(state="FAILED"), groups=[LabelValues("team"), Terms("state")]
        )
        assert filtered == []
        assert await index.aggregate("main", "executions", filter=where(flowId="none")) == [
            Bucket(keys=(), count=0)
        ]

    async def test_dates_fall_into_the_interval_of_the_calendar(self, index: Index) -> None:
        """A Wednesday at 12:34:56 falls into each interval by its beginning in UTC."""
        await put(index, execution(1, at=datetime(2026, 3, 4, 12, 34, 56, 789, tzinfo=UTC)))
        for interval, beginning in INTERVALS:
            assert await index.aggregate("main", "executions", groups=[Dates("startDate", interval)]) == [
                Bucket(keys=(beginning,), count=1)
            ], interval

    async def test_measures(self, index: Index) -> None:
        """Sums, averages, least and greatest values; nothing where no document has the field."""
        await put(
            index, *(execution(n, ended=State.SUCCESS) for n in (1, 2, 6)), execution(9, flow_id="open")
        )
        functions: Sequence[Any] = ("sum", "average", "minimum", "maximum")
        measures = [Measure(function, "duration") for function in functions]
        [hello, unended] = await index.aggregate(
            "main", "executions", groups=[Terms("flowId")], measures=measures
        )
        assert hello == Bucket(keys=("hello",), count=3, values=(9.0, 3.0, 1.0, 6.0))
        assert unended.values[1:] == (None, None, None)
        [whole] = await index.aggregate("main", "executions", measures=[Measure("sum", "duration")])
        assert whole == Bucket(keys=(), count=4, values=(9.0,))

    async def test_counts_of_documents_that_have_a_field(self, index: Index) -> None:
        """Of any type; where none has it, nothing is counted."""
        await put(index, execution(1, ended=State.SUCCESS), execution(2), execution(3, flow_id="open"))
        measures = [Measure("count", name) for name in ("flowId", "endDate", "duration")]
        assert await index.aggregate("main", "executions", groups=[Terms("flowId")], measures=measures) == [
            Bucket(keys=("hello",), count=2, values=(2, 1, 1)),
            Bucket(keys=("open",), count=1, values=(1, 0, 0)),
        ]
        assert await index.aggregate("main", "executions", measures=measures) == [
            Bucket(keys=(), count=3, values=(3, 1, 1))
        ]

    async def test_the_group_of_documents_without_the_field(self, index: Index) -> None:
        """It comes first, with the key None, also below another group."""
        run: dict[str, Any] = {"task_id": "a"}
        await put(index, line(1, "one"), line(2, "two", **run), line(3, "three", level=Level.WARN, **run))
        groups = [Terms("taskId", absent=True)]
        assert await index.aggregate("main", "logs", groups=groups) == [
            Bucket(keys=(None,), count=1),
            Bucket(keys=("a",), count=2),
        ]
        assert await index.aggregate("main", "logs", groups=[Terms("level"), *groups]) == [
            Bucket(keys=("INFO", None), count=1),
            Bucket(keys=("INFO", "a"), count=1),
            Bucket(keys=("WARN", "a"), count=1),
        ]

    async def test_the_first_groups(self, index: Index) -> None:
        """With a limit the groups after it are left out."""
        await put(index, *(execution(number, flow_id=f"flow{number}") for number in range(5)))
        buckets = await index.aggregate("main", "executions", groups=[Terms("flowId")], limit=3)
        assert [bucket.keys for bucket in buckets] == [("flow0",), ("flow1",), ("flow2",)]

    async def test_labels_and_filters_together_in_a_group(self, index: Index) -> None:
        """A filter by label and a group by label do not disturb each other."""
        red, blue = Label(key="team", value="red"), Label(key="team", value="blue")
        north = Label(key="region", value="north")
        await put(
            index,
            execution(1, labels=[red, north]),
            execution(2, labels=[blue, north]),
            execution(3, labels=[red]),
        )
        assert await index.aggregate(
            "main",
            "executions",
            filter=HasLabel("region", "north"),
            groups=[LabelValues("team"), LabelValues("region")],
        ) == [Bucket(keys=("blue", "north"), count=1), Bucket(keys=("red", "north"), count=1)]

    # --- what the parts ask for ---------------------------------------------------------------------------------

    async def test_log_lines_of_an_execution(self, index: Index) -> None:
        """By time, by level, by task run and attempt, by words, and onwards from where one stopped."""
        run: dict[str, Any] = {"task_run_id": "r1", "task_id": "a", "attempt_number": 0}
        await put(
            index,
            line(1, "Starting the engine", **run),
            line(2, "all is well: 42 rows", level=Level.DEBUG, **run),
            line(3, "the engine BROKE", level=Level.ERROR, **{**run, "attempt_number": 1}),
            line(4, "from elsewhere", execution_id="execution001"),
            line(5, "other tenant", tenant_id="other"),
            line(6, "without a task", level=Level.WARN),
        )

        async def numbers(**given: Any) -> list[int]:
            page = await index.logs("main", "execution000", **given)
            return [found.version for found in page.results]

        assert await numbers() == [1, 2, 3, 6]
        assert await numbers(descending=True) == [6, 3, 2, 1]
        assert await numbers(minimum_level=Level.WARN) == [3, 6]
        assert await numbers(minimum_level=Level.DEBUG, task_id="a") == [1, 2, 3]
        assert await numbers(task_run_id="r1", attempt=1) == [3]
        assert await numbers(text="ENGINE") == [1, 3]
        assert await numbers(text="eng bro") == [3]
        assert await numbers(text="42") == [2]
        assert await numbers(text="gine") == []
        assert await numbers(text='"; -- *') == [1, 2, 3, 6]
        page = await index.logs("main", "execution000", size=2, count=True)
        assert page.total == 4
        assert page.next is not None
        assert await numbers(size=2, after=page.next) == [3, 6]
        assert await ids(index, "logs", at_least(Level.ERROR)) == [numbered_id(0, 3)]

    async def test_lines_of_one_moment_keep_the_order_of_the_log(self, index: Index) -> None:
        """Where timestamps are equal, the position on the log decides, also beyond nine."""
        await put(index, *(line(number, "same", timestamp=START) for number in (9, 10, 11, 100)))
        page = await index.logs("main", "execution000")
        assert [found.version for found in page.results] == [9, 10, 11, 100]

    async def test_task_runs_in_the_order_of_their_creation(self, index: Index) -> None:
        """An execution's task runs are paged by the event that created them."""
        header = documents.fold_execution(None, created(1))
        writes = []
        for number in (10, 2, 33, 4):
            event = e.TaskRunCreated(
                tenant_id="main",
                execution_id="execution001",
                number=number,
                at=START,
                cause=CAUSE,
                run_id=f"run{number}",
                task_id="t",
                state=State.RUNNING if number == 4 else State.SUBMITTED,
            )
            run = documents.fold_task_run(None, event, header)
            assert run is not None
            writes.append(documents.task_run_write(run, number))
        await put(index, *writes)
        page = await index.task_runs("main", "execution001", size=3, count=True)
        assert [found.id for found in page.results] == ["run2", "run4", "run10"]
        assert page.total == 4
        page = await index.task_runs("main", "execution001", size=3, after=page.next)
        assert [found.id for found in page.results] == ["run33"]
        running = await index.task_runs("main", "execution001", filter=where(state="RUNNING"))
        assert [found.id for found in running.results] == ["run4"]

    async def test_events_by_number_and_counted_by_time(self, index: Index) -> None:
        """Events come as they were recorded, from one number to another, and are counted in intervals."""
        every = history()
        await put(
            index, *(documents.event_write(event, ENCODER.encode(event), event.number) for event in every)
        )
        found = await index.events("main", "execution000", 2, 4)
        assert [e.EVENT_DECODER.decode(event.body) for event in found] == every[2:5]
        assert [event.id for event in found] == [event_id("execution000", number) for number in (2, 3, 4)]
        assert await index.events("main", "execution000", 7, 9) == []
        assert await index.events("other", "execution000", 0, 9) == []
        counts = await index.event_counts("main", "execution000", "minute")
        assert counts == [Bucket(keys=(START.replace(second=0, microsecond=0),), count=7)]
        started = await index.event_counts("main", "execution000", "second", where(type="ExecutionStarted"))
        assert started == [Bucket(keys=((START + timedelta(seconds=1)).replace(microsecond=0),), count=1)]

    async def test_events_by_slices_of_time_what_they_came_to_and_what_they_led_to(
        self, index: Index
    ) -> None:
        """Slices count from their start and leave out what was before; states and causes can be asked for."""
        every = history()
        await put(
            index, *(documents.event_write(event, ENCODER.encode(event), event.number) for event in every)
        )
        own = where(executionId="execution000")
        groups = [Slices("at", START + timedelta(seconds=1), 2_000)]
        counts = await index.aggregate(
            "main", "events", filter=own, groups=groups, measures=[Measure("minimum", "number")]
        )
        slices: dict[int, list[int]] = {}
        for event in every:
            if event.at >= groups[0].start:
                slices.setdefault((event.at - groups[0].start) // timedelta(seconds=2), []).append(
                    event.number
                )
        assert [(each.keys[0], each.count, each.values[0]) for each in counts] == [
            (number, len(events), events[0]) for number, events in sorted(slices.items())
        ]
        ended = await index.count("main", "events", AllOf((own, where(state="SUCCESS"))))
        assert ended == sum(getattr(event, "state", None) == "SUCCESS" for event in every)
        led = await index.count("main", "events", AllOf((own, where(causedBy=every[0].number))))
        assert led == sum(event.cause.event == every[0].number for event in every)

    async def test_what_a_share_of_numbers_stays_below(self, index: Index) -> None:
        """Quantiles of what a filter leaves are found, at least nearly; without a number there is none."""
        measured = [
            MetricEntry(
                tenant_id="main",
                namespace="company.team",
                flow_id="hello",
                execution_id="execution000",
                task_id="a",
                task_run_id="r",
                name="rows",
                type="counter",
                value=number,
                timestamp=START,
            )
            for number in range(1, 101)
        ]
        writes = enumerate(measured)
        await put(index, *(documents.metric_write(each, ENCODER.encode(each), 0, at) for at, each in writes))
        middle, most = await index.quantiles("main", "metrics", "value", (0.5, 1.0), where(name="rows"))
        assert middle == pytest.approx(50, rel=0.03)
        assert most == pytest.approx(100, rel=0.03)
        assert await index.quantiles("main", "metrics", "value", (0.5,), where(name="none")) == [None]
        assert await index.quantiles("other", "metrics", "value", (0.5,)) == [None]

    async def test_an_execution_as_it_was_after_an_event(self, index: Index) -> None:
        """Folding the events up to N gives what stood there then; after the last one, what stands there now."""
        every = history()
        await put(
            index, *(documents.event_write(event, ENCODER.encode(event), event.number) for event in every)
        )
        then = await as_of(index, "main", "execution000", 3)
        assert then is not None
        assert then.execution["state"]["current"] == "RUNNING"
        assert [run["state"]["current"] for run in then.task_runs] == ["RUNNING"]
        assert then.execution["lastEvent"] == 3
        now = await as_of(index, "main", "execution000", 99)
        assert now is not None
        assert now.execution["state"]["current"] == "SUCCESS"
        assert now.execution["outputs"] == {"y": 2}
        assert now.task_runs[0]["outputs"] == {"x": 1}
        assert await as_of(index, "main", "unknown", 3) is None
        assert await as_of(index, "other", "execution000", 3) is None
