"""Flows started from scripts by the `kestra` package of PyPI, unmodified, with and without a tenant (G §16, K04)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import kestra  # type: ignore[import-untyped]  # it has none
import pytest
import pytest_asyncio

from tests.integration.api_requests import Api, serving
from tests.integration.api_system import PASSWORD, USERNAME

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLOWS = """
id: asked
namespace: NS
inputs:
  - {id: who, type: STRING, defaults: world}
  - {id: table, type: FILE, required: false}
tasks:
  - {id: say, type: io.kestra.plugin.core.debug.Return, format: "{{ inputs.who }}"}
---
id: failing
namespace: NS
tasks:
  - {id: flaky, type: io.kestra.plugin.core.debug.Return, format: x}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The server of this module."""
    async with serving(tmp_path_factory.mktemp("helper")) as started:
        await started.save(FLOWS, "company.helper")
        yield started


async def _execute(
    api: Api, flow_id: str, inputs: dict[str, Any], *, wait: bool = True, **options: Any
) -> Any:
    flow = kestra.Flow(wait_for_completion=wait, poll_interval=0, **options)
    flow.hostname = str(api.system.client.make_url("/")).rstrip("/")
    flow.user, flow.password = USERNAME, PASSWORD
    return await asyncio.to_thread(flow.execute, "company.helper", flow_id, inputs)


@pytest.mark.parametrize("tenant", [None, "main"])
async def test_a_flow_is_started_and_waited_for(api: Api, tenant: str | None) -> None:
    """It polls the state and the text of the log until the execution is over; labels come from inputs."""
    done = await _execute(api, "asked", {"who": "me"}, tenant=tenant, labels_from_inputs=True)
    assert done.status == "SUCCESS"
    found = await api.get(f"/executions/{done.execution_id}")
    assert found["inputs"]["who"] == "me"
    assert {"key": "who", "value": "me"} in found["labels"]


async def test_a_file_is_sent_under_the_name_of_its_input(api: Api) -> None:
    """The form of old: a part `files` whose file name is the input's id."""
    started = await _execute(api, "asked", {"files": ("table", BytesIO(b"a,b\n"), "text/csv")}, wait=False)
    found = await api.until(
        f"/executions/{started.execution_id}", lambda body: body["state"]["current"] == "SUCCESS"
    )
    path = found["inputs"]["table"]
    assert await api.call("GET", f"/executions/{started.execution_id}/file?path={path}") == b"a,b\n"


async def test_failures_are_told(api: Api) -> None:
    """The end of a failed execution comes as its status; a flow that is not there is an error."""
    assert (await _execute(api, "failing", {})).status == "FAILED"
    with pytest.raises(Exception, match="404"):
        await _execute(api, "unknown", {})
