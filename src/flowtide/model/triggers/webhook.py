"""The Webhook trigger: fires when its URL is called (page 486, WHK-01 to WHK-09)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from flowtide.model.trigger import InputTrigger


class Webhook(InputTrigger):
    """Fires when its URL is called with GET, POST or PUT."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "body": ("any", "The body; JSON is parsed"),
        "headers": ("object", "The headers, each a list"),
        "parameters": ("object", "The query parameters, each a list"),
        "path": ("string", "What follows the key in the URL"),
    }
    title: ClassVar[str] = "Start the flow by an HTTP request."
    example: ClassVar[str] = """\
id: called
namespace: company.team
tasks:
  - {id: show, type: io.kestra.plugin.core.log.Log, message: "{{ trigger.body ?? 'started by hand' }}"}
triggers:
  - id: call
    type: io.kestra.plugin.core.trigger.Webhook
    key: a-long-secret-key
"""
    aliases: ClassVar[tuple[str, ...]] = (
        "io.kestra.core.models.triggers.types.Webhook",
        "io.kestra.plugin.core.http.Webhook",
    )

    key: Annotated[
        str, Field(title="The secret part of the URL; may be a template", min_length=1, max_length=256)
    ]  # the secret part of the URL; may be a template
    wait: Annotated[bool, Field(title="Whether the answer comes when the execution is over")] = (
        False  # answer when the execution is over
    )
    return_outputs: Annotated[
        bool, Field(title="Whether the answer has the outputs of the flow; needs `wait`")
    ] = False  # answer with the flow's outputs; needs `wait`
    response_content_type: Annotated[
        Literal["application/json", "text/plain"], Field(title="The content type of the answer")
    ] = "application/json"
    response_code: Annotated[
        Annotated[int, Field(ge=100, le=599)] | None, Field(title="The code of a good answer; 200 by default")
    ] = None
