"""What the key-value store and the namespace files must do, on every log and storage.

A test module derives classes from `KeyValuesContract` and `NamespaceFilesContract` and gives them the fixture
`servers`: two servers of one installation, so that each claim about writes is read back on the other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flowtide.errors import FileMissing, NamespaceForbidden, ResourceConflict, ValueInvalid
from flowtide.model.platform import Platform, ValueType

NAMESPACE = "company.team"


class ManualClock:
    """Stands still until `advance`."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 5, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self._now

    def advance(self, duration: timedelta) -> None:
        """Let time pass."""
        self._now += duration


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Two servers on one log and one storage, with one clock."""

    first: Callable[[str | None], Platform]  # for flows of a namespace; None: for the API
    second: Callable[[str | None], Platform]
    other_tenant: Platform
    clock: ManualClock
    save_namespace: Callable[[str, dict[str, Any]], Any]  # (name, document); awaited
    stored_files: Callable[[], list[str]]  # what is in the storage, by URI


class KeyValuesContract:
    """The contract of `flowtide.model.platform.KeyValues`."""

    @pytest.mark.parametrize(
        ("given", "type_", "read"),
        [
            ("a text", None, "a text"),
            (42, None, 42),
            (1.5, None, 1.5),
            (True, None, True),
            ({"a": [1, None]}, None, {"a": [1, None]}),
            ("42", ValueType.NUMBER, 42),
            ("true", ValueType.BOOLEAN, True),
            ('{"a": 1}', ValueType.JSON, {"a": 1}),
            ("2026-01-02T03:04:05+01:00", ValueType.DATETIME, "2026-01-02T02:04:05.000000Z"),
            ("2026-01-02", ValueType.DATE, "2026-01-02"),
            ("PT90S", ValueType.DURATION, "PT1M30S"),
            ("x" * 100_000, None, "x" * 100_000),
        ],
    )
    async def test_what_was_set_is_read_on_any_server(
        self, servers: Servers, given: Any, type_: ValueType | None, read: Any
    ) -> None:
        """KVS-02: a value keeps its type, also one that is too large for its record, and is there at once."""
        pair = await servers.first(None).key_values.set(NAMESPACE, "k", given, type=type_, description="why")
        found = await servers.second(None).key_values.find(NAMESPACE, "k")
        assert found is not None
        assert found[1] == read
        assert found[0] == pair
        assert (pair.revision, pair.description) == (1, "why")

    async def test_a_pair_is_replaced_and_its_large_value_removed(self, servers: Servers) -> None:
        """KVS-01: the next value has the next revision, keeps the date of creation, and leaves no file behind."""
        store = servers.first(None).key_values
        first = await store.set(NAMESPACE, "k", "x" * 10_000)
        assert len(servers.stored_files()) == 1
        servers.clock.advance(timedelta(minutes=1))
        await store.set(NAMESPACE, "k", "y" * 10_000)
        assert len(servers.stored_files()) == 1
        second = await store.set(NAMESPACE, "k", "small")
        assert servers.stored_files() == []
        assert second.revision == 3
        assert second.created == first.created < second.updated

    async def test_a_pair_is_not_overwritten_against_ones_will(self, servers: Servers) -> None:
        """RUN-12: `overwrite: false` refuses a pair that is there, and takes one that is expired or gone."""
        store = servers.first(None).key_values
        await store.set(NAMESPACE, "k", 1, ttl=timedelta(minutes=1))
        with pytest.raises(ResourceConflict, match="exists"):
            await servers.second(None).key_values.set(NAMESPACE, "k", 2, overwrite=False)
        servers.clock.advance(timedelta(minutes=1))
        await servers.second(None).key_values.set(NAMESPACE, "k", 3, overwrite=False)
        assert await store.delete(NAMESPACE, "k")
        await store.set(NAMESPACE, "k", 4, overwrite=False)

    async def test_of_many_who_insist_on_being_the_first_one_is(self, servers: Servers) -> None:
        """RUN-12: two servers set one key at once without overwriting; one of all wins."""
        stores = [servers.first(None).key_values, servers.second(None).key_values]
        answers = await asyncio.gather(
            *(stores[number % 2].set(NAMESPACE, "k", number, overwrite=False) for number in range(6)),
            return_exceptions=True,
        )
        assert sorted(isinstance(each, ResourceConflict) for each in answers) == [False] + [True] * 5

    async def test_an_expired_pair_is_not_there(self, servers: Servers) -> None:
        """KVS-03: from its time on nobody finds, lists or deletes it."""
        store = servers.first(None).key_values
        pair = await store.set(NAMESPACE, "k", 1, ttl=timedelta(seconds=10))
        assert pair.expires == servers.clock() + timedelta(seconds=10)
        servers.clock.advance(timedelta(seconds=9))
        assert [each.key for each in await store.list(NAMESPACE)] == ["k"]
        servers.clock.advance(timedelta(seconds=1))
        assert await store.find(NAMESPACE, "k") is None
        assert await store.list(NAMESPACE) == await store.all() == []
        assert not await store.delete(NAMESPACE, "k")

    async def test_keys_are_listed_by_prefix(self, servers: Servers) -> None:
        """RUN-14: sorted, of one namespace only, and neither of those below it nor of other tenants."""
        store = servers.first(None).key_values
        for key in ("test_b", "test_a", "other", "Test_c", "with/slash"):
            await store.set(NAMESPACE, key, 1)
        await store.set(f"{NAMESPACE}.child", "test_d", 1)
        await store.set("company", "test_e", 1)
        await servers.other_tenant.key_values.set(NAMESPACE, "test_f", 1)
        second = servers.second(None).key_values
        assert [each.key for each in await second.list(NAMESPACE, "test_")] == ["test_a", "test_b"]
        assert [each.key for each in await second.list(NAMESPACE)] == [
            "Test_c",
            "other",
            "test_a",
            "test_b",
            "with/slash",
        ]
        assert len(await second.all()) == 7
        assert await servers.other_tenant.key_values.find(NAMESPACE, "test_a") is None

    async def test_purging(self, servers: Servers) -> None:
        """RUN-16: expired pairs only, or all; of some namespaces, with those below them, or of all."""
        store = servers.first(None).key_values
        for namespace in ("company", NAMESPACE, "elsewhere"):
            await store.set(namespace, "expired", "x" * 10_000, ttl=timedelta(seconds=1))
            await store.set(namespace, "kept", 1)
        servers.clock.advance(timedelta(seconds=1))
        assert await store.purge(["company"], children=False, expired_only=True) == 1
        assert await store.purge(["company"], children=True, expired_only=True) == 1
        assert await store.purge(None, children=False, expired_only=True) == 1
        assert servers.stored_files() == []
        assert (
            await servers.second(None).key_values.purge([NAMESPACE], children=False, expired_only=False) == 1
        )
        assert [each.namespace for each in await store.all()] == ["company", "elsewhere"]

    @pytest.mark.parametrize("key", ["", " k", "é", "a\nb", "x" * 257])
    async def test_keys_that_are_none(self, servers: Servers, key: str) -> None:
        """KVS-02: keys are printable ASCII."""
        with pytest.raises(ValueInvalid, match="no key"):
            await servers.first(None).key_values.set(NAMESPACE, key, 1)

    async def test_a_value_of_another_type_is_refused(self, servers: Servers) -> None:
        """KVS-02: the message names the type."""
        with pytest.raises(ValueInvalid, match="NUMBER"):
            await servers.first(None).key_values.set(NAMESPACE, "k", "many", type=ValueType.NUMBER)

    async def test_a_namespace_lets_in_whom_it_allows(self, servers: Servers) -> None:
        """NSP-06: by default all; a list names those that may, with the namespaces below them; the API always may."""
        await servers.first(None).key_values.set("company", "k", 1)
        assert await servers.second("other").key_values.find("company", "k")
        await servers.save_namespace("company", {"allowedNamespaces": [{"namespace": "friend"}]})
        for reader in ("company", "friend", "friend.below"):
            assert await servers.second(reader).key_values.find("company", "k")
        for reader in ("other", "friendly", "company.team"):
            with pytest.raises(NamespaceForbidden, match="does not let"):
                await servers.second(reader).key_values.find("company", "k")
        with pytest.raises(NamespaceForbidden):
            await servers.second("other").key_values.set("company.below", "k", 1)
        assert await servers.second(None).key_values.find("company", "k")


class NamespaceFilesContract:
    """The contract of `flowtide.model.platform.NamespaceFiles`."""

    async def test_an_upload_is_read_on_any_server(self, servers: Servers, tmp_path: Path) -> None:
        """NSF-01: as bytes and as a local file, with its size and the folders above it."""
        source = tmp_path / "source"
        await asyncio.to_thread(source.write_bytes, b"content")
        file = await servers.first(None).files.put(NAMESPACE, "dir/sub/a.txt", source)
        files = servers.second(None).files
        assert await files.find(NAMESPACE, "/dir/sub/a.txt") == file
        assert (file.path, file.size, file.revision) == ("/dir/sub/a.txt", 7, 1)
        assert await files.read(NAMESPACE, "dir/sub/a.txt") == b"content"
        await files.fetch(NAMESPACE, "/dir/sub/a.txt", tmp_path / "copy")
        assert await asyncio.to_thread((tmp_path / "copy").read_bytes) == b"content"
        assert [(each.path, each.is_folder) for each in await files.children(NAMESPACE)] == [("/dir", True)]
        assert [each.path for each in await files.list(NAMESPACE)] == ["/dir/sub/a.txt"]
        assert await files.list("company") == []
        assert await servers.other_tenant.files.list(NAMESPACE) == []

    async def test_older_contents_stay_readable(self, servers: Servers) -> None:
        """NSF-06: by their revision, and by the name with a suffix, unless a file has that very name."""
        files = servers.first(None).files
        for content in (b"one", b"two", b"three"):
            await files.put(NAMESPACE, "a.sql", content)
        second = servers.second(None).files
        assert await second.revisions(NAMESPACE, "/a.sql") == [1, 2, 3]
        assert await second.read(NAMESPACE, "a.sql") == b"three"
        assert await second.read(NAMESPACE, "a.sql", revision=1) == b"one"
        assert await second.read(NAMESPACE, "a.sql.v2") == b"two"
        with pytest.raises(FileMissing, match="revision 4"):
            await second.read(NAMESPACE, "a.sql", revision=4)
        await files.put(NAMESPACE, "a.sql.v2", b"a file of that name")
        assert await second.read(NAMESPACE, "a.sql.v2") == b"a file of that name"
        assert await second.read(NAMESPACE, "a.sql", revision=2) == b"two"

    async def test_uploads_of_two_servers_at_once_are_revisions(self, servers: Servers) -> None:
        """NSF-06: none is lost, and none has the bytes of another."""
        both = [servers.first(None).files, servers.second(None).files]
        await asyncio.gather(*(both[n % 2].put(NAMESPACE, "d/a", f"{n}".encode() * 9) for n in range(6)))
        assert await both[0].revisions(NAMESPACE, "d/a") == [1, 2, 3, 4, 5, 6]
        contents = {await both[1].read(NAMESPACE, "d/a", revision=number) for number in range(1, 7)}
        assert contents == {f"{n}".encode() * 9 for n in range(6)}

    async def test_removing(self, servers: Servers) -> None:
        """A file goes with its revisions, a folder with all below it, and nothing of them stays in the storage."""
        files = servers.first(None).files
        for path in ("a/b/c.txt", "a/d.txt", "ab.txt"):
            await files.put(NAMESPACE, path, b"1")
            await files.put(NAMESPACE, path, b"2")
        assert await servers.second(None).files.delete(NAMESPACE, "/a")
        assert [each.path for each in await files.list(NAMESPACE)] == ["/ab.txt"]
        assert await files.find(NAMESPACE, "/a") is None
        assert not await files.delete(NAMESPACE, "a/d.txt")
        assert await files.delete(NAMESPACE, "ab.txt")
        assert servers.stored_files() == []
        assert (await files.put(NAMESPACE, "ab.txt", b"3")).revision == 1

    async def test_moving(self, servers: Servers) -> None:
        """Files keep their revisions; what is there is not overwritten, and no folder goes into itself."""
        files = servers.first(None).files
        await files.put(NAMESPACE, "a/b.txt", b"1")
        await files.put(NAMESPACE, "a/b.txt", b"2")
        await files.make_folder(NAMESPACE, "a/empty")
        await files.put(NAMESPACE, "taken", b"3")
        with pytest.raises(ResourceConflict):
            await files.move(NAMESPACE, "a", "taken")
        with pytest.raises(ValueInvalid, match="into itself"):
            await files.move(NAMESPACE, "a", "a/x")
        with pytest.raises(FileMissing):
            await files.move(NAMESPACE, "nothing", "x")
        await files.move(NAMESPACE, "/a", "/x/y")
        second = servers.second(None).files
        assert await second.find(NAMESPACE, "a/b.txt") is None
        assert await second.read(NAMESPACE, "x/y/b.txt", revision=1) == b"1"
        folder = await second.find(NAMESPACE, "x/y/empty")
        assert folder is not None
        assert folder.is_folder

    async def test_files_and_folders_do_not_take_each_others_place(self, servers: Servers) -> None:
        """A file is not put where a folder stands, nor below a file."""
        files = servers.first(None).files
        await files.put(NAMESPACE, "a/b", b"1")
        with pytest.raises(ResourceConflict, match="a folder"):
            await files.put(NAMESPACE, "a", b"2")
        with pytest.raises(ResourceConflict, match="a file"):
            await files.put(NAMESPACE, "a/b/c", b"2")
        assert len(servers.stored_files()) == 1

    async def test_purging_revisions(self, servers: Servers) -> None:
        """NSF-06: by age or by number, for files that fit a pattern; the newest content always stays."""
        files = servers.first(None).files
        for path in ("a/x.sql", "y.txt"):
            for content in (b"1", b"2", b"3"):
                await files.put(NAMESPACE, path, content)
                servers.clock.advance(timedelta(hours=1))
        start = servers.clock() - timedelta(hours=5)
        assert await files.purge(["company"], children=True, pattern="*.sql", before=start) == 1
        assert await files.revisions(NAMESPACE, "a/x.sql") == [2, 3]
        assert await files.purge(["company"], children=False, keep=1) == 0
        assert await servers.second(None).files.purge(None, children=False, keep=1) == 3
        assert await files.read(NAMESPACE, "y.txt") == b"3"
        assert len(servers.stored_files()) == 2
        assert await files.purge(None, children=False, before=servers.clock()) == 0

    @pytest.mark.parametrize("path", ["", "/", "../a", "a/../b", "a//b", "a\\b", "a\0b", "x" * 501])
    async def test_paths_that_are_none(self, servers: Servers, path: str) -> None:
        """No path leaves the namespace."""
        with pytest.raises(ValueInvalid, match="no path"):
            await servers.first(None).files.put(NAMESPACE, path, b"")

    async def test_a_namespace_lets_in_whom_it_allows(self, servers: Servers) -> None:
        """NSP-06: files of a namespace with a list are read from those of the list only."""
        await servers.first(None).files.put("company", "a", b"1")
        await servers.save_namespace("company", {"allowedNamespaces": []})
        with pytest.raises(NamespaceForbidden):
            await servers.second("other").files.read("company", "a")
        assert await servers.second("company").files.read("company", "a") == b"1"
