"""The OpenAPI document: every operation says what it takes and gives, and every model that it names is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from flowtide.api.openapi import openapi, unknown_requests
from flowtide.api.schemas import component, models, schema_of

DOCUMENT = openapi()


def _operations() -> Iterator[dict[str, Any]]:
    for path in DOCUMENT["paths"].values():
        yield from path.values()


def test_every_model_is_a_json_schema_and_no_other_is_named() -> None:
    """All references lead somewhere, and each model is a schema of draft 2020-12."""
    for name in models():
        Draft202012Validator.check_schema(component(name))
    assert "Execution" in DOCUMENT["components"]["schemas"]
    assert DOCUMENT["components"]["schemas"]["Execution"]["required"][:2] == ["id", "namespace"]


def test_every_operation_describes_its_answer_and_its_refusals() -> None:
    """An answer has a content type, with a model when it is JSON; a refusal is our envelope."""
    for operation in _operations():
        answers = operation["responses"]
        assert {"4XX", "503"} <= set(answers), operation["operationId"]
        for kind, content in answers.get("2XX", {}).get("content", {}).items():
            if "json" in kind:
                assert content["schema"], operation["operationId"]
    assert not unknown_requests()


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("string!", {"type": "string"}),
        ("date-time?", {"type": ["string", "null"], "format": "date-time"}),
        ("Label[]", {"type": "array", "items": {"$ref": "#/components/schemas/Label"}}),
        ("Label?", {"anyOf": [{"$ref": "#/components/schemas/Label"}, {"type": "null"}]}),
        ("List[str]", {"type": "array", "items": {"type": "string"}}),
        (
            "Dict[str, List[str]]",
            {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
        ),
    ],
)
def test_types_become_schemas(name: str, schema: dict[str, Any]) -> None:
    """Types as `models.yaml` and the routes write them."""
    assert schema_of(name) == schema


def test_a_type_that_nobody_knows_is_an_error() -> None:
    """A wrong name in the table is found by the one who writes it."""
    with pytest.raises(KeyError):
        schema_of("Nothing")
