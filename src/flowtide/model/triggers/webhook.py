"""The Webhook trigger: fires when its URL is called (page 486, WHK-01 to WHK-09)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from flowtide.model.trigger import InputTrigger


class Webhook(InputTrigger):
    """Fires when its URL is called with GET, POST or PUT."""

    title: ClassVar[str] = "Start the flow by an HTTP request."
    aliases: ClassVar[tuple[str, ...]] = (
        "io.kestra.core.models.triggers.types.Webhook",
        "io.kestra.plugin.core.http.Webhook",
    )

    key: Annotated[str, Field(min_length=1, max_length=256)]  # the secret part of the URL; may be a template
    wait: bool = False  # answer when the execution is over
    return_outputs: bool = False  # answer with the flow's outputs; needs `wait`
    response_content_type: Literal["application/json", "text/plain"] = "application/json"
    response_code: Annotated[int, Field(ge=100, le=599)] | None = None  # of a good answer; None: 200
