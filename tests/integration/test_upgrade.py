"""Upgrades of topics, tables and mappings: told before they are made, made, and then there is nothing left."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from pathlib import Path

import aiohttp
import pytest

from flowtide.errors import IndexUnavailable
from flowtide.services.upgrade import planned, upgrade
from flowtide.settings import Settings
from flowtide.testing.servers import kafka_shape
from tests.integration.installation import installed, settings_of
from tests.integration.outside import remove_topics_and_indices

FLOW = """
id: work
namespace: old.team
tasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: said}]
"""


async def test_an_index_of_an_earlier_version_is_made_anew(tmp_path: Path) -> None:
    """UPG-2: a fresh folder stays fresh in a dry run; servers refuse an index that they cannot read; after the
    upgrade it is put aside, and its executions are found again.
    """
    settings = Settings.load(environment={}, overrides=settings_of(tmp_path / "data", {}))
    fresh = await planned(settings)
    assert "the topic execution_events is made" in fresh
    assert "the file of the index is made" in fresh
    assert not (tmp_path / "data" / "log.db").exists()
    assert await upgrade(settings) == fresh
    assert await planned(settings) == []
    async with installed(tmp_path / "data", {}) as found:
        await found.admin.must("POST", "/main/flows", FLOW)
        await found.admin.must("POST", "/main/executions/old.team/work?wait=true")
        assert (await found.admin.must("GET", "/main/executions/search"))["total"] == 1
    file = tmp_path / "data" / "index.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(IndexUnavailable, match="sys database migrate"):
        async with installed(tmp_path / "data", {}):
            pass
    (told,) = await planned(settings)
    assert "schema 1" in told
    assert file.exists()
    done = await upgrade(settings)
    assert done[0] == told
    assert (tmp_path / "data" / "index.db.schema-1").exists()
    assert await planned(settings) == []
    async with installed(tmp_path / "data", {}) as found, asyncio.timeout(30):
        while True:
            if (await found.admin.must("GET", "/main/executions/search"))["total"] == 1:
                break
            await asyncio.sleep(0.02)


@pytest.mark.kafka
@pytest.mark.elasticsearch
async def test_indices_that_are_there_get_new_fields(
    tmp_path: Path, kafka_address: str, elasticsearch_url: str
) -> None:
    """UPG-2: topics, templates and fields that are missing are told of and made; the second time nothing is left."""
    prefix = f"test_upgrade_{uuid.uuid4().hex[:10]}_"
    shape = kafka_shape(
        tmp_path, kafka=kafka_address, elasticsearch=elasticsearch_url, prefix=prefix, partitions=1
    )
    settings = Settings.load(environment={}, overrides=settings_of(tmp_path, shape.overrides))
    try:
        async with aiohttp.ClientSession(elasticsearch_url) as session:
            lower = {"type": "custom", "filter": ["lowercase"]}
            old = {
                "settings": {"analysis": {"normalizer": {"lower": lower}}},
                "mappings": {"dynamic": False, "properties": {"id": {"type": "keyword"}}},
            }
            async with session.put(f"/{prefix}flows-000001", json=old) as response:
                assert response.status == 200, await response.text()
            told = await planned(settings)
            assert "the topic own_writes is made" in told
            assert f"the template {prefix}flows is made" in told
            (fields,) = [each for each in told if each.startswith(f"the index {prefix}flows-000001 gets")]
            assert "namespace" in fields
            assert await planned(settings) == told
            assert await upgrade(settings) == told
            async with session.get(f"/{prefix}flows-000001/_mapping") as response:
                there = (await response.json())[f"{prefix}flows-000001"]["mappings"]["properties"]
            assert "namespace" in there
        assert await planned(settings) == []
    finally:
        await asyncio.to_thread(remove_topics_and_indices, kafka_address, elasticsearch_url, prefix)
