"""Flow triggers in real processes: what starts what, and exactly once while executors die."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from flowtide.model.services import ServiceType
from flowtide.testing.servers import Api, Server, Shape

ALL = tuple(ServiceType)
CORE = "io.kestra.plugin.core"
NAMESPACE = "flow.triggers"
KEY = {"flowtide.encryption.secret-key": b64encode(bytes(range(32))).decode()}

BRONZE = f"""
id: bronze
namespace: {NAMESPACE}
labels: {{layer: bronze}}
inputs:
  - {{id: number, type: INT, defaults: 1}}
  - {{id: token, type: SECRET, defaults: sesame}}
tasks: [{{id: only, type: {CORE}.log.Log, message: bronze}}]
outputs:
  - {{id: number, type: INT, value: "{{{{ inputs.number }}}}"}}
  - {{id: token, type: SECRET, value: "{{{{ inputs.token }}}}"}}
"""
SILVER = f"""
id: silver
namespace: {NAMESPACE}
inputs:
  - {{id: number, type: INT}}
  - {{id: token, type: SECRET}}
tasks:
  - id: choose
    type: {CORE}.flow.If
    condition: "{{{{ inputs.token == 'say sesame' }}}}"
    then: [{{id: right, type: {CORE}.log.Log, message: "{{{{ trigger.flowId }}}} {{{{ trigger.state }}}}"}}]
    else: [{{id: wrong, type: {CORE}.execution.Fail}}]
triggers:
  - id: after_bronze
    type: {CORE}.trigger.Flow
    inputs:
      number: "{{{{ trigger.outputs.number }}}}"
      token: "say {{{{ trigger.outputs.token }}}}"
    preconditions:
      id: upstream
      flows: [{{namespace: {NAMESPACE}, flowId: bronze, states: [SUCCESS], labels: {{layer: bronze}}}}]
"""
GOLD = f"""
id: gold
namespace: {NAMESPACE}
tasks: [{{id: only, type: {CORE}.log.Log, message: gold}}]
triggers:
  - id: after_both
    type: {CORE}.trigger.Flow
    preconditions:
      id: both
      flows:
        - {{namespace: {NAMESPACE}, flowId: bronze, states: [SUCCESS]}}
        - {{namespace: {NAMESPACE}, flowId: silver, states: [SUCCESS]}}
"""
FAILS = f"""
id: fails
namespace: {NAMESPACE}
tasks: [{{id: only, type: {CORE}.execution.Fail}}]
"""
LATE_FAILURE = f"""
id: late_failure
namespace: {NAMESPACE}
tasks: [{{id: only, type: {CORE}.log.Log, message: fine}}]
afterExecution: [{{id: after, type: {CORE}.execution.Fail}}]
"""
ALERT = f"""
id: alert
namespace: system
tasks: [{{id: only, type: {CORE}.execution.Fail, errorMessage: "{{{{ trigger.executionId }}}}"}}]
triggers:
  - id: on_failure
    type: {CORE}.trigger.Flow
    conditions:
      - {{type: {CORE}.condition.ExecutionStatus, in: [FAILED, WARNING]}}
      - {{type: {CORE}.condition.Or, conditions: [
          {{type: {CORE}.condition.ExecutionNamespace, namespace: flow, prefix: true}},
          {{type: {CORE}.condition.ExecutionNamespace, namespace: system}}]}}
"""
BROKEN = f"""
id: broken
namespace: {NAMESPACE}
tasks: [{{id: only, type: {CORE}.log.Log, message: never}}]
triggers:
  - id: cannot
    type: {CORE}.trigger.Flow
    conditions: [{{type: {CORE}.condition.Expression, expression: "{{{{ trigger.outputs.nothing }}}}"}}]
    preconditions: {{id: p, flows: [{{namespace: {NAMESPACE}, flowId: bronze}}]}}
"""


async def found(api: Api, namespace: str, flow: str, total: int) -> list[dict[str, Any]]:
    """The executions of a flow, as soon as there are so many and all are over."""
    params = {"namespace": namespace, "flowId": flow, "size": "200"}
    async with asyncio.timeout(60):
        while True:
            answer = await api.call("GET", "/executions/search", params=params)
            assert answer.status == 200, answer
            results: list[dict[str, Any]] = answer.body["results"]
            over = [each for each in results if each["state"]["current"] in ("SUCCESS", "FAILED")]
            if answer.body["total"] >= total and len(over) == len(results):
                return results
            await asyncio.sleep(0.1)


def correlation(execution: dict[str, Any]) -> str:
    """The label that a chain of executions shares."""
    labels = {label["key"]: label["value"] for label in execution["labels"]}
    return str(labels["system.correlationId"])


async def test_executions_start_those_of_flows_that_listen(shape: Shape) -> None:
    """Outputs become inputs, secrets stay secret, both preconditions are met, failures raise an alert, once each."""
    shape = replace(shape, overrides={**shape.overrides, **KEY})
    with Server(shape, ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            for source in (BRONZE, SILVER, GOLD, FAILS, LATE_FAILURE, ALERT, BROKEN):
                await api.must_save(source)
            first = await api.run(NAMESPACE, "bronze", {"number": "42"})
            (silver,) = await found(api, NAMESPACE, "silver", 1)
            assert silver["state"]["current"] == "SUCCESS", silver
            assert silver["inputs"]["number"] == 42
            assert silver["trigger"]["id"] == "after_bronze"
            assert silver["trigger"]["variables"]["executionId"] == first["id"]
            assert correlation(silver) == first["id"]
            assert "sesame" not in str(silver)
            (gold,) = await found(api, NAMESPACE, "gold", 1)
            assert correlation(gold) == first["id"]
            assert gold["trigger"]["variables"]["executionId"] == silver["id"]
            failed = await api.run(NAMESPACE, "fails")
            await api.run(NAMESPACE, "late_failure")
            last = await api.run(NAMESPACE, "fails")
            alerts = await found(api, "system", "alert", 2)
            told = {each["trigger"]["variables"]["executionId"] for each in alerts}
            assert told == {failed["id"], last["id"]}
            params = {"namespace": NAMESPACE, "flowId": "broken", "triggerId": "cannot", "size": "10"}
            async with asyncio.timeout(30):
                while not (  # noqa: ASYNC110 - another process writes; there is no event
                    lines := (await api.call("GET", "/logs/search", params=params)).body["results"]
                ):
                    await asyncio.sleep(0.1)
            assert "nothing" in lines[0]["message"]
            assert await found(api, NAMESPACE, "broken", 0) == []
        assert await server.stop() == 0


async def test_each_execution_fires_once_while_executors_die(shape: Shape) -> None:
    """Executors are killed while upstream executions end: each of those starts one execution, pairs start one."""
    with ExitStack() as stack:
        if shape.name == "embedded":
            hosts: list[Server] = []
            killed = stack.enter_context(Server(shape, ALL, name="all"))
            port = killed.port
        else:
            others = tuple(each for each in ALL if each is not ServiceType.EXECUTOR)
            web = stack.enter_context(Server(shape, others, name="web"))
            port = web.port
            killed = stack.enter_context(Server(shape, (ServiceType.EXECUTOR,), name="executor-1"))
            other = stack.enter_context(Server(shape, (ServiceType.EXECUTOR,), name="executor-2"))
            hosts = [web, other]
        await asyncio.gather(*(each.start() for each in [*hosts, killed]))
        async with Api(port) as api:
            plain = BRONZE.replace(", type: SECRET", ", type: STRING")
            await api.must_save(plain)
            await api.must_save(
                SILVER.replace("type: SECRET", "type: STRING").replace("say {{", "{{").replace("say s", "s")
            )
            ids: list[str] = []
            for _ in range(3):
                for _ in range(6):
                    answer = await api.start(NAMESPACE, "bronze")
                    assert answer.status == 200, answer
                    ids.append(answer.body["id"])
                killed.kill()
                await killed.start()
            for each in ids:
                assert (await api.ended(each))["state"]["current"] == "SUCCESS"
            silver = await found(api, NAMESPACE, "silver", len(ids))
            # One more of all, after which nothing that came before can be under way.
            last = await api.run(NAMESPACE, "bronze")
            silver = await found(api, NAMESPACE, "silver", len(ids) + 1)
            told = Counter(each["trigger"]["variables"]["executionId"] for each in silver)
            assert told == Counter([*ids, last["id"]])
            assert {each["state"]["current"] for each in silver} == {"SUCCESS"}
