"""Changes of groups and of who is in them: names and subjects in, saved groups and memberships out.

State: none; what is there is read from the tables.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flowtide.errors import ResourceConflict
from flowtide.model.access import SubjectType
from flowtide.model.identity import BindingType, Group, GroupMembership, MembershipType
from flowtide.model.resources import ResourceKind
from flowtide.services.identity.directory import Directory
from flowtide.services.identity.tables import Identities


class Groups:
    """Changes groups.  Each change names who made it as `by`."""

    def __init__(self, identities: Identities, directory: Directory) -> None:
        self._identities = identities
        self._directory = directory

    def named(self, tenant: str, name: str) -> str | None:
        """The id of the group with this name; several ones, which races of old could leave, give the first."""
        return next((each for each, group in self._identities.groups(tenant) if group.name == name), None)

    async def create(
        self, tenant: str, group: Group, *, group_id: str | None = None, by: str | None = None
    ) -> str:
        """Create a group and give its id.  Raises ResourceConflict when its name is taken (IAM-19)."""
        chosen = group_id or self._directory.new_id()
        await self._check_name(tenant, chosen, group.name)
        await self._directory.save(ResourceKind.GROUP, tenant, chosen, group, expected_revision=0, by=by)
        try:
            await self._check_name(tenant, chosen, group.name)
        except ResourceConflict:
            # Two servers took the name in the same moment: both give way, so that it is never there twice.
            await self._directory.delete(ResourceKind.GROUP, tenant, chosen, by=by)
            raise
        return chosen

    async def update(self, tenant: str, group_id: str, group: Group, *, by: str | None = None) -> None:
        """Save a group as it is to be.  Raises ResourceConflict when its new name is taken."""
        before = self._identities.group(tenant, group_id)
        if before == group:
            return
        moved = before is None or before.name != group.name
        if moved:
            await self._check_name(tenant, group_id, group.name)
        revision = self._directory.revision(ResourceKind.GROUP, tenant, group_id)
        await self._directory.save(
            ResourceKind.GROUP, tenant, group_id, group, expected_revision=revision, by=by
        )
        if not moved or before is None:
            return
        try:
            await self._check_name(tenant, group_id, group.name)
        except ResourceConflict:
            await self._directory.save(ResourceKind.GROUP, tenant, group_id, before, by=by)
            raise

    async def delete(self, tenant: str, group_id: str, *, by: str | None = None) -> None:
        """Delete a group with what it granted; who was in it stays (IAM-05)."""
        for binding_id, _ in self._identities.bindings_of(tenant, BindingType.GROUP, group_id):
            await self._directory.delete(ResourceKind.BINDING, tenant, binding_id, by=by)
        for subject_id, _ in self._identities.members(tenant, group_id):
            await self._leave(tenant, group_id, subject_id, by)
        await self._directory.delete(ResourceKind.GROUP, tenant, group_id, by=by)

    async def join(
        self,
        tenant: str,
        group_id: str,
        subject_id: str,
        *,
        membership: MembershipType | None = None,
        managed_externally: bool = False,
        by: str | None = None,
    ) -> None:
        """Put somebody into a group, which lets them into the tenant; who is in it already stays what they are."""
        subject = self._identities.subject(subject_id)
        type_ = SubjectType.USER if subject is None else subject.type
        await self._directory.grant_access(tenant, subject_id, type_=type_, by=by)
        known = self._identities.membership(tenant, group_id, subject_id)
        wanted = known or GroupMembership()
        wanted = msgspec.structs.replace(
            wanted,
            membership=membership or wanted.membership,
            managed_externally=managed_externally or wanted.managed_externally,
        )
        if wanted != known:
            identifier = f"{group_id}/{subject_id}"
            await self._directory.save(ResourceKind.GROUP_MEMBERSHIP, tenant, identifier, wanted, by=by)

    async def leave(
        self,
        tenant: str,
        group_id: str,
        subject_id: str,
        *,
        keep_access: bool = False,
        by: str | None = None,
    ) -> None:
        """Take somebody out of a group; whom nothing else keeps in the tenant leaves it, too, by default."""
        await self._leave(tenant, group_id, subject_id, by)
        if keep_access:
            return
        kept = self._identities.groups_of(tenant, subject_id) or self._identities.bindings_of(
            tenant, BindingType.USER, subject_id
        )
        if not kept:
            await self._directory.revoke_access(tenant, subject_id, by=by)

    async def replace_of(
        self, tenant: str, subject_id: str, group_ids: Iterable[str], *, by: str | None = None
    ) -> None:
        """Put somebody into exactly these groups; their access to the tenant stays as it is."""
        wanted = set(group_ids)
        for group_id, _, _ in self._identities.groups_of(tenant, subject_id):
            if group_id not in wanted:
                await self._leave(tenant, group_id, subject_id, by)
        for group_id in sorted(wanted):
            await self.join(tenant, group_id, subject_id, by=by)

    async def synchronize(
        self,
        tenant: str,
        subject_id: str,
        names: Iterable[str],
        provider: str,
        *,
        keep_own: bool = False,
        by: str | None = None,
    ) -> None:
        """Put somebody into exactly the groups of these names, as a provider says; missing ones are made (SSO-05).

        With `keep_own` they stay in those that a person put them into.
        """
        wanted = set()
        for name in dict.fromkeys(names):
            group_id = self.named(tenant, name)
            if group_id is None:
                try:
                    group_id = await self.create(tenant, Group(name=name, external=provider), by=by)
                except ResourceConflict:
                    group_id = self.named(tenant, name)
                    if group_id is None:
                        raise
            wanted.add(group_id)
            await self.join(tenant, group_id, subject_id, managed_externally=True, by=by)
        for group_id, _, membership in self._identities.groups_of(tenant, subject_id):
            if group_id not in wanted and (membership.managed_externally or not keep_own):
                await self._leave(tenant, group_id, subject_id, by)

    async def _leave(self, tenant: str, group_id: str, subject_id: str, by: str | None) -> None:
        identifier = f"{group_id}/{subject_id}"
        await self._directory.delete(ResourceKind.GROUP_MEMBERSHIP, tenant, identifier, by=by)

    async def _check_name(self, tenant: str, group_id: str, name: str) -> None:
        await self._identities.catch_up()
        for each, group in self._identities.groups(tenant):
            if each != group_id and group.name == name:
                raise ResourceConflict(
                    f"there is a group `{name}` already", key=f"{tenant}/{ResourceKind.GROUP}/{each}"
                )
