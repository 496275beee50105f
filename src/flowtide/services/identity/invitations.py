"""Invitations: what they give is given, to whom accepts them or at once (INV-02, INV-03).

State: none; what is there is read from the tables.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from flowtide.errors import ResourceConflict
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.identity import Binding, BindingType, Invitation, InvitationStatus
from flowtide.model.resources import ResourceKind
from flowtide.services.identity.directory import Directory
from flowtide.services.identity.groups import Groups
from flowtide.services.identity.tables import Identities


class Invitations:
    """Finds and carries out invitations."""

    def __init__(self, identities: Identities, directory: Directory) -> None:
        self._identities = identities
        self._directory = directory
        self._groups = Groups(identities, directory)

    async def find(self, invitation_id: str) -> tuple[str, Invitation] | None:
        """An invitation to any tenant, with the tenant's id; it may have been made on another server just now."""
        found = self._find(invitation_id)
        if found is None:
            await self._identities.catch_up()
            found = self._find(invitation_id)
        return found

    def of(self, email: str, now: datetime) -> list[tuple[str, str, Invitation]]:
        """The invitations of an e-mail address that can be accepted now: tenant, id and invitation."""
        return [
            (tenant, invitation_id, invitation)
            for tenant, _ in self._identities.tenants()
            for invitation_id, invitation in self._identities.invitations(tenant)
            if invitation.email.casefold() == email.casefold() and is_open(invitation, now)
        ]

    async def give(self, tenant: str, user_id: str, invitation: Invitation, *, by: str | None = None) -> None:
        """Give a user what the invitation says.  Twice is as good as once; what is gone meanwhile is passed over."""
        await self._directory.grant_access(tenant, user_id, by=by)
        for group_id in invitation.group_ids:
            if self._identities.group(tenant, group_id) is not None:
                await self._groups.join(tenant, group_id, user_id, by=by)
        for invited in invitation.roles:
            if self._identities.role(tenant, invited.role_id) is None:
                continue
            for namespace in invited.namespaces or (None,):
                binding = Binding(
                    type=BindingType.USER, external_id=user_id, role_id=invited.role_id, namespace=namespace
                )
                await self._directory.bind(tenant, binding, by=by)
        user = self._identities.user(user_id)
        if invitation.super_admin and user is not None and not user.super_admin:
            raised = msgspec.structs.replace(user, super_admin=True)
            await self._directory.save(ResourceKind.USER, SYSTEM_TENANT, user_id, raised, by=by)

    async def accept(
        self, tenant: str, invitation_id: str, user_id: str, *, at: datetime, by: str | None = None
    ) -> None:
        """Give what the invitation says, once.  Raises ResourceConflict when it was taken back or accepted before."""
        key = f"{tenant}/{ResourceKind.INVITATION}/{invitation_id}"
        invitation = self._identities.invitation(tenant, invitation_id)
        if invitation is None or not is_open(invitation, at):
            raise ResourceConflict("the invitation is not open any more", key=key)
        accepted = msgspec.structs.replace(invitation, status=InvitationStatus.ACCEPTED, accepted=at)
        revision = self._directory.revision(ResourceKind.INVITATION, tenant, invitation_id)
        # Taken first, so that two cannot accept it; should the server die now, it has to be sent again.
        await self._directory.save(
            ResourceKind.INVITATION, tenant, invitation_id, accepted, expected_revision=revision, by=by
        )
        await self.give(tenant, user_id, invitation, by=by)

    def _find(self, invitation_id: str) -> tuple[str, Invitation] | None:
        for tenant, _ in self._identities.tenants():
            invitation = self._identities.invitation(tenant, invitation_id)
            if invitation is not None:
                return tenant, invitation
        return None


def is_open(invitation: Invitation, now: datetime) -> bool:
    """Whether an invitation can be accepted."""
    return invitation.status is InvitationStatus.PENDING and invitation.expires > now
