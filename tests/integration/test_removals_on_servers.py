"""Deletion of executions, lines and revisions, expressions and history, on real logs and indices."""

from __future__ import annotations

from typing import Any

from flowtide.testing.servers import ALL, Api, Server, Shape

FLOW = """
id: work
namespace: removed.team
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "said"
  - id: give
    type: io.kestra.plugin.core.debug.Return
    format: "given"
"""
WAITING = """
id: waiting
namespace: removed.team
tasks:
  - id: pause
    type: io.kestra.plugin.core.flow.Pause
"""


async def _asked(api: Api, method: str, path: str, status: int = 200, **arguments: Any) -> Any:
    answer = await api.call(method, path, **arguments)
    assert answer.status == status, (method, path, answer)
    return answer.body


async def test_what_is_deleted_stays_deleted(shape: Shape) -> None:
    """Right after its end, and while it runs: reads, searches and lists of lines do not know it, now and later."""
    with Server(shape, ALL, name="all") as server:
        await server.start()
        async with Api(server.port) as api:
            await api.must_save(FLOW)
            await api.must_save(WAITING)
            run = await _asked(api, "POST", "/executions/removed.team/work", params={"wait": "true"})
            path = f"/executions/{run['id']}"
            evaluated = await _asked(api, "POST", f"{path}/eval", data="{{ outputs.give.value }}")
            assert evaluated == {"result": "given"}
            last = run["taskRunList"][-1]
            chain = await _asked(api, "GET", f"{path}/causes/{last['id']}")
            assert chain[-1]["cause"]["command"]
            await _asked(api, "DELETE", path, 204)
            waiting = (await api.start("removed.team", "waiting")).body["id"]
            ids = [waiting]
            deleted = await _asked(api, "DELETE", "/executions/by-ids?includeNonTerminated=true", json=ids)
            assert deleted == {"count": 1}
            for _ in range(2):
                for each in (run["id"], waiting):
                    await _asked(api, "GET", f"/executions/{each}", 404)
                    await _asked(api, "GET", f"/logs/{each}", 404)
                found = await _asked(api, "GET", "/executions/search", params={"namespace": "removed.team"})
                assert found == {"results": [], "total": 0}
                lines = await _asked(api, "GET", "/logs/search", params={"namespace": "removed.team"})
                assert lines["total"] == 0
                # One more execution goes through log and index, and what was behind it would have come by then.
                other = await _asked(api, "POST", "/executions/removed.team/work", params={"wait": "true"})
                await _asked(api, "DELETE", f"/executions/{other['id']}", 204)
            await api.must_update("removed.team", "work", FLOW.replace("said", "said again"))
            revisions = "/flows/removed.team/work/revisions"
            await _asked(api, "DELETE", revisions, 204, params={"revisions": "1"})
            left = await _asked(api, "GET", revisions, params={"allowDelete": "true"})
            assert [each["revision"] for each in left] == [2]
        assert await server.stop() == 0
