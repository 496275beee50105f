"""What this server can do of SCIM 2.0, for providers that ask first (RFC 7644, part 4; SCIM-06).  No state."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from flowtide.api.iam.integrations import address_of_scim
from flowtide.api.iam.scim import provisioning_of
from flowtide.api.iam.scim_messages import GROUP_SCHEMA, USER_SCHEMA, list_answer, scim, scim_answer

_CORE = "urn:ietf:params:scim:schemas:core:2.0:"


def _attribute(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "multiValued": False,
        "required": False,
        "caseExact": False,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": "none",
        **more,
    }


_USER = [
    _attribute("userName", required=True, uniqueness="server"),
    _attribute("externalId", caseExact=True),
    _attribute("name", "complex", subAttributes=[_attribute("givenName"), _attribute("familyName")]),
    _attribute("displayName", mutability="readOnly"),
    _attribute(
        "emails", "complex", multiValued=True, mutability="readOnly",
        subAttributes=[_attribute("value"), _attribute("type"), _attribute("primary", "boolean")],
    ),
    _attribute("active", "boolean"),
    _attribute(
        "groups", "complex", multiValued=True, mutability="readOnly",
        subAttributes=[_attribute("value"), _attribute("display")],
    ),
]  # fmt: skip  # a table
_GROUP = [
    _attribute("displayName", required=True, uniqueness="server", caseExact=True),
    _attribute("externalId", caseExact=True),
    _attribute(
        "members", "complex", multiValued=True, subAttributes=[_attribute("value"), _attribute("display")]
    ),
]
_KINDS = (("User", "Users", USER_SCHEMA, _USER), ("Group", "Groups", GROUP_SCHEMA, _GROUP))


@scim
async def schemas(request: web.Request) -> web.StreamResponse:
    """The fields of users and groups."""
    provisioning_of(request)
    return list_answer(
        request,
        [
            {
                "schemas": [_CORE + "Schema"],
                "id": schema,
                "name": name,
                "description": name,
                "attributes": fields,
            }
            for name, _, schema, fields in _KINDS
        ],
    )


@scim
async def resource_types(request: web.Request) -> web.StreamResponse:
    """That there are users and groups, and where."""
    provisioning_of(request)
    return list_answer(
        request,
        [
            {
                "schemas": [_CORE + "ResourceType"],
                "id": name,
                "name": name,
                "endpoint": f"/{place}",
                "schema": schema,
            }
            for name, place, schema, _ in _KINDS
        ],
    )


@scim
async def configuration(request: web.Request) -> web.StreamResponse:
    """What is supported: changes and filters; no bulk requests and no passwords."""
    provisioning_of(request)
    address = address_of_scim(request, request.match_info["integration"])
    return scim_answer(
        {
            "schemas": [_CORE + "ServiceProviderConfig"],
            "patch": {"supported": True},
            "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
            "filter": {"supported": True, "maxResults": 1_000},
            "changePassword": {"supported": False},
            "sort": {"supported": False},
            "etag": {"supported": False},
            "authenticationSchemes": [
                {
                    "type": "oauthbearertoken",
                    "name": "Secret token",
                    "description": "The secret that was shown when the provisioning was created, as Bearer",
                    "primary": True,
                }
            ],
            "meta": {"resourceType": "ServiceProviderConfig", "location": f"{address}/ServiceProviderConfig"},
        }
    )
