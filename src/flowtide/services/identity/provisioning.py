"""Users who come from a provider: what it says of them in, the user who logs in out (SSO-05, SSO-07).

State: none; what is there is read from the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from flowtide.errors import LoginRefused
from flowtide.model.identity import User, UserProvider
from flowtide.services.identity.directory import Directory
from flowtide.services.identity.groups import Groups
from flowtide.services.identity.oidc import Proven
from flowtide.services.identity.tables import Identities


class Provisioning:
    """Finds or makes the user of a login.  `tenant` is where newcomers enter and where the groups are."""

    def __init__(
        self, identities: Identities, directory: Directory, *, tenant: str, clock: Callable[[], datetime]
    ) -> None:
        self._identities = identities
        self._directory = directory
        self._groups = Groups(identities, directory)
        self._tenant = tenant
        self._clock = clock

    async def logged_in(self, proven: Proven, groups: Sequence[str] | None) -> str:
        """The id of the user, made at the first login; `groups` replaces those the user is in.  Raises LoginRefused.

        Who was known before is known by the provider's name for them, whatever address they have now; a newcomer is
        the user of their e-mail address, if the provider vouches for it.
        """
        way = f"OIDC:{proven.provider}"
        await self._identities.catch_up()
        user_id = self._known(proven) or await self._by_email(proven)
        given, family = proven.claims.get("given_name"), proven.claims.get("family_name")
        first_name = given if isinstance(given, str) else None
        last_name = family if isinstance(family, str) else None
        link = UserProvider(external_id=proven.subject, integration_id=way)
        if user_id is None:
            user = User(
                email=proven.email or "",
                created=self._clock(),
                first_name=first_name,
                last_name=last_name,
                logins=(way,),
                providers=(link,),
            )
            user_id = await self._directory.create_user(user, tenants=(self._tenant,), by=way)
        elif not self._identities.is_configured(user_id):
            before = self._identities.user(user_id)
            if before is None:
                raise LoginRefused("the user is being deleted")
            changed = msgspec.structs.replace(
                before,
                first_name=first_name or before.first_name,
                last_name=last_name or before.last_name,
                logins=before.logins if way in before.logins else (*before.logins, way),
                providers=before.providers if link in before.providers else (*before.providers, link),
            )
            if changed != before:
                await self._directory.update_user(user_id, changed, by=way)
        if groups is not None:
            await self._groups.synchronize(self._tenant, user_id, groups, proven.provider, by=way)
        return user_id

    def _known(self, proven: Proven) -> str | None:
        way = f"OIDC:{proven.provider}"
        for user_id, user in self._identities.users():
            if any(
                each.integration_id == way and each.external_id == proven.subject for each in user.providers
            ):
                return user_id
        return None

    async def _by_email(self, proven: Proven) -> str | None:
        email = proven.email
        if email is None:
            raise LoginRefused(f"{proven.provider} gave no e-mail address; add `email` to its scopes")
        if proven.email_refused:
            raise LoginRefused(f"{proven.provider} has not verified your e-mail address")
        user_id = self._identities.user_id(email)
        if user_id is not None and not proven.email_owned:
            raise LoginRefused(
                "there is a user of this e-mail address, and the provider does not vouch that it is yours; ask for "
                "an `issuer` of your own directory, or for the claim `email_verified`"
            )
        return user_id
