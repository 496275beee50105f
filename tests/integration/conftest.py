"""The two shapes that tests of real processes run on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowtide.testing.servers import QUICK, Shape, embedded_shape, kafka_shape
from tests.integration.outside import remove_topics_and_indices


@pytest.fixture(
    params=["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.elasticsearch])]
)
async def shape(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shape]:
    """The whole system on files, and on Kafka and Elasticsearch, where dead servers are noticed soon."""
    if request.param == "embedded":
        yield embedded_shape(tmp_path, QUICK)
        return
    kafka, elasticsearch = (
        request.getfixturevalue("kafka_address"),
        request.getfixturevalue("elasticsearch_url"),
    )
    prefix = f"test_shape_{uuid.uuid4().hex[:10]}_"
    yield kafka_shape(tmp_path, kafka=kafka, elasticsearch=elasticsearch, prefix=prefix, overrides=QUICK)
    await asyncio.to_thread(remove_topics_and_indices, kafka, elasticsearch, prefix)
