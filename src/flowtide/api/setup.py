"""The first visit: what the interface must know before anybody is logged in, and the set-up of the login (page 004)."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.auditing import acting_as
from flowtide.api.authentication import (
    CREDENTIALS_DECODER,
    SETTING_KEY,
    StoredCredentials,
    encoded_credentials,
    validation_errors,
)
from flowtide.api.bodies import read_json
from flowtide.api.first_user import begin
from flowtide.api.keys import AUTHENTICATION
from flowtide.api.oidc_logins import login_links
from flowtide.api.problems import Problem
from flowtide.api.recognition import RECOGNITION
from flowtide.errors import ResourceConflict
from flowtide.model.resources import Resource, ResourceKind
from flowtide.services.catalog import Catalog
from flowtide.services.saving import ResourceClient

INSTANCE_TENANT = "main"  # where settings of the whole instance are saved


class SavedCredentials:
    """The login of the set-up among the saved settings; decoded once per revision."""

    def __init__(self, catalog: Catalog, resources: ResourceClient) -> None:
        self._catalog = catalog
        self._resources = resources
        self._known: tuple[Resource | None, StoredCredentials | None] = (None, None)

    def load(self) -> StoredCredentials | None:
        """What is stored; the same object until it changes."""
        resource = self._catalog.get(ResourceKind.SETTING, INSTANCE_TENANT, SETTING_KEY)
        if resource is not self._known[0]:
            stored = (
                None if resource is None or resource.deleted else CREDENTIALS_DECODER.decode(resource.body)
            )
            self._known = (resource, stored)
        return self._known[1]

    async def store(self, credentials: StoredCredentials) -> bool:
        """Store the first login; False when somebody else was faster."""
        body = encoded_credentials(credentials)
        try:
            await self._resources.save(
                ResourceKind.SETTING, INSTANCE_TENANT, SETTING_KEY, body, 0, by=credentials.username
            )
        except ResourceConflict:
            return False
        return True


async def login_configuration(request: web.Request) -> web.StreamResponse:
    """Whether there is anybody who can log in."""
    return json_answer({"isBasicAuthInitialized": request.app[RECOGNITION].is_set_up})


async def ways_to_log_in(request: web.Request) -> web.StreamResponse:
    """The ways to log in: by password, and by each provider at its address (SSO-01)."""
    return json_answer(
        [{"id": "BASIC", "name": "Basic auth", "type": "BASIC_AUTH"}, *login_links(request.app)]
    )


async def create_login(request: web.Request) -> web.StreamResponse:
    """Store the first login: an e-mail address and a password.  Possible once, and only without configured ones."""
    value = await read_json(request)
    username, password = _credentials(value)
    request.app[AUTHENTICATION].check_new(username, password)
    try:
        await begin(request)
    except Problem as problem:
        raise Problem(409, "there is a login already; change it in the configuration") from problem
    with acting_as(request, username):
        await request.app[AUTHENTICATION].set_up(username, password)
    return web.Response(status=204)


async def login_errors(request: web.Request) -> web.StreamResponse:
    """What is wrong with a login, for the set-up page."""
    username = unquote(request.query.get("username", ""))
    return json_answer(validation_errors(username, request.query.get("password", "")))


def _credentials(value: Any) -> tuple[str, str]:
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("username"), str)
        or not isinstance(value.get("password"), str)
    ):
        raise Problem(422, "`username` and `password` are needed")
    return value["username"].strip(), value["password"]
