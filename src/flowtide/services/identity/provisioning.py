"""Users who come from a provider or a directory: what it says of them in, the user who logs in out (SSO-05, SSO-07).

State: none; what is there is read from the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from flowtide.errors import LoginRefused, ResourceConflict
from flowtide.model.identity import User, UserProvider
from flowtide.services.identity.directory import Directory
from flowtide.services.identity.groups import Groups
from flowtide.services.identity.ldap import Person
from flowtide.services.identity.oidc import Proven
from flowtide.services.identity.tables import Identities

LDAP = "LDAP"
_LOGIN = "login"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """Somebody who has proven who they are, whoever vouches for it."""

    way: str  # how they log in: `OIDC:<provider>`, `LDAP`
    source: str  # who vouches: `OIDC:<provider>`, `LDAP:<directory>`
    subject: str  # what the source knows them by
    email: str | None
    first_name: str | None = None
    last_name: str | None = None
    login: str | None = None  # what they typed, where that may be something else than the address
    objection: str | None = None  # why nobody is to be found or made by the address
    vouched: bool = True  # whether the user who has the address already may be taken for them
    takes_configured: bool = True  # whether that may be one of the configuration
    follows_email: bool = False  # whether the user's address changes with what the source says


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

    async def logged_in(
        self, proven: Arrival, groups: Sequence[str] | None, *, keep_own: bool = False
    ) -> str:
        """The id of the user, made at the first login; `groups` replaces those the user is in.  Raises LoginRefused.

        Who was known before is known by the source's name for them, whatever address they have now; a newcomer is
        the user of their e-mail address, if the source vouches for it.  With `keep_own` only those groups are left
        that a source had put the user into.
        """
        await self._identities.catch_up()
        user_id = self._known(proven) or self._by_email(proven)
        attributes = {} if proven.login is None else {_LOGIN: proven.login.casefold()}
        link = UserProvider(external_id=proven.subject, integration_id=proven.source, attributes=attributes)
        if user_id is None:
            user = User(
                email=proven.email or "",
                created=self._clock(),
                first_name=proven.first_name,
                last_name=proven.last_name,
                logins=(proven.way,),
                providers=(link,),
            )
            user_id = await self._directory.create_user(user, tenants=(self._tenant,), by=proven.way)
        elif not self._identities.is_configured(user_id):
            await self._update(user_id, proven, link)
        if groups is not None:
            name = proven.source.partition(":")[2]
            await self._groups.synchronize(
                self._tenant, user_id, groups, name, keep_own=keep_own, by=proven.way
            )
        return user_id

    async def gone(self, name: str) -> None:
        """Take from a user, whom no directory has any more, what they got by it: sessions and tokens (LDAP-04).

        Who has another way in keeps everything.  `name` is what somebody typed as a login.
        """
        user_id = self.known_as(name)
        user = None if user_id is None else self._identities.user(user_id)
        if user_id is None or user is None or user.logins != (LDAP,):
            return
        if self._identities.is_configured(user_id) or self._identities.password(user_id) is not None:
            return
        await self._directory.end_sessions(user_id, by=LDAP)
        for token_id, _ in self._identities.tokens_of(user_id):
            await self._directory.delete_token(token_id, by=LDAP)

    async def _update(self, user_id: str, proven: Arrival, link: UserProvider) -> None:
        before = self._identities.user(user_id)
        if before is None:
            raise LoginRefused("the user is being deleted")
        # A source knows somebody by one name: that of a re-made entry replaces the old one.
        others = tuple(each for each in before.providers if each.integration_id != proven.source)
        changed = msgspec.structs.replace(
            before,
            first_name=proven.first_name or before.first_name,
            last_name=proven.last_name or before.last_name,
            logins=before.logins if proven.way in before.logins else (*before.logins, proven.way),
            providers=before.providers if link in before.providers else (*others, link),
        )
        if changed != before:
            await self._directory.update_user(user_id, changed, by=proven.way)
        if proven.follows_email and proven.email and proven.email.casefold() != before.email.casefold():
            moved = msgspec.structs.replace(changed, email=proven.email)
            try:
                await self._directory.update_user(user_id, moved, by=proven.way)
            except ResourceConflict:
                return  # somebody else has that address here: they keep it

    def _known(self, proven: Arrival) -> str | None:
        for user_id, user in self._identities.users():
            if any(
                each.integration_id == proven.source and each.external_id == proven.subject
                for each in user.providers
            ):
                return user_id
        return None

    def known_as(self, name: str) -> str | None:
        """The user of an e-mail address, or who last came with this login from a directory."""
        user_id = self._identities.user_id(name)
        if user_id is not None:
            return user_id
        for user_id, user in self._identities.users():
            if any(each.attributes.get(_LOGIN) == name.casefold() for each in user.providers):
                return user_id
        return None

    def _by_email(self, proven: Arrival) -> str | None:
        name = proven.source.partition(":")[2]
        if proven.email is None:
            raise LoginRefused(f"{name} gave no e-mail address, which is a user's name here")
        if proven.objection is not None:
            raise LoginRefused(proven.objection)
        user_id = self._identities.user_id(proven.email)
        if user_id is None:
            return None
        if not proven.vouched:
            raise LoginRefused(
                "there is a user of this e-mail address, and the provider does not vouch that it is yours; ask for "
                "an `issuer` of your own directory, or for the claim `email_verified`"
            )
        if self._identities.is_configured(user_id) and not proven.takes_configured:
            raise LoginRefused(
                "this user stands in the configuration, and logs in with the password from there"
            )
        return user_id


def arrival_by_oidc(proven: Proven) -> Arrival:
    """Who logged in by OpenID Connect."""
    given, family = proven.claims.get("given_name"), proven.claims.get("family_name")
    way = f"OIDC:{proven.provider}"
    return Arrival(
        way=way,
        source=way,
        subject=proven.subject,
        email=proven.email,
        first_name=given if isinstance(given, str) else None,
        last_name=family if isinstance(family, str) else None,
        objection=f"{proven.provider} has not verified your e-mail address" if proven.email_refused else None,
        vouched=proven.email_owned,
    )


def arrival_by_ldap(person: Person, login: str) -> Arrival:
    """Who logged in by a directory with what they typed.

    Whoever may write there must not become the superadmin of the configuration.
    """
    return Arrival(
        way=LDAP,
        source=f"{LDAP}:{person.directory}",
        subject=person.subject,
        email=person.email,
        first_name=person.first_name,
        last_name=person.last_name,
        login=login,
        takes_configured=False,
        follows_email=True,
    )
