"""`core.http.Trigger`: starts an execution when the answer to a request is as wanted (page 481, POL-02)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from flowtide.expressions import truthy
from flowtide.model.entries import Level
from flowtide.model.task import RunContext
from flowtide.model.trigger import PollingTrigger
from flowtide.plugins.tasks.http import HttpRequest


class Trigger(HttpRequest, PollingTrigger):
    """Sends an HTTP request again and again; an answer for which the condition holds starts an execution."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "uri": ("string", "The address that answered"),
        "code": ("integer", "The status code"),
        "headers": ("object", "The headers of the answer"),
        "body": ("string", "The body as text"),
    }
    title: ClassVar[str] = "Start the flow when an HTTP endpoint answers as wanted."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.plugin.fs.http.Trigger",)
    uses_files: ClassVar[bool] = True
    example: ClassVar[str] = """\
id: price_watch
namespace: company.team
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "The price is now: {{ json(trigger.body).price }}"
triggers:
  - id: http
    type: io.kestra.plugin.core.http.Trigger
    uri: https://fakestoreapi.com/products/1
    responseCondition: "{{ json(response.body).price <= 110 }}"
    interval: PT30S
    stopAfter:
      - SUCCESS
"""

    response_condition: Annotated[
        str,
        Field(
            title="When an answer starts an execution",
            description="An expression over `response.statusCode`, `response.body` and `response.headers`.",
        ),
    ] = "{{ response.statusCode < 400 }}"
    encrypt_body: Annotated[
        bool,
        Field(
            title="Whether the body is kept encrypted",
            description="As `trigger.encryptedBody`, without `body`.",
        ),
    ] = False

    async def evaluate(self, context: RunContext) -> dict[str, Any] | None:
        """Give `uri`, `code`, `headers` and `body`, or nothing when the condition does not hold."""
        answer = await self.exchange(context)
        response = {"statusCode": answer["code"], **answer}
        context.define("response", response)
        holds = await context.evaluate(self.response_condition)
        if not truthy(holds):
            context.logger.log(Level.DEBUG, "The answer {} does not fulfil the condition", answer["code"])
            return None
        if self.encrypt_body:
            answer["encryptedBody"] = context.encrypt(answer.pop("body"), "trigger.encryptedBody")
        return answer
