"""Who owns which partition: the members of one consumer group, shared out evenly and moved as little as
possible.

Comes in: members that join, leave or are expelled, and partitions that were given back.  Goes out: for each
member what it is to take over and to give back.  Holds no records and does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from flowtide.log.port import Partition


class Member:
    """One consumer as its group sees it."""

    __slots__ = ("alive", "generation", "incoming", "instance", "owned", "revoking", "topics", "wake")

    def __init__(self, *, instance: str, topics: frozenset[str], wake: Callable[[], None]) -> None:
        self.instance = instance
        self.topics = topics
        self.wake = wake  # called when there is something for this member to take over or give back
        self.alive = True  # False: closed or expelled, whatever it does is refused
        self.generation = 0
        self.incoming: set[Partition] = set()  # given to it, but not handed over yet
        self.owned: set[Partition] = set()  # handed over
        self.revoking: set[Partition] = set()  # owned, to be given back at its next poll


class Group:
    """The members of a group and its generation, which grows with every change of the membership."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.generation = 0
        self.members: dict[str, Member] = {}
        self._holders: dict[Partition, Member] = {}
        self._targets: dict[Partition, Member] = {}

    def join(self, member: Member, partitions: Iterable[Partition]) -> None:
        """Take in a member; one of the same instance that is still there is expelled."""
        self.expel(member.instance)
        self.members[member.instance] = member
        for partition in partitions:
            self._targets.setdefault(partition, member)
        self._share_out()

    def leave(self, member: Member) -> None:
        """Let a member go; a second call does nothing."""
        if not member.alive:
            return
        member.alive = False
        del self.members[member.instance]
        for partition in [partition for partition, holder in self._holders.items() if holder is member]:
            del self._holders[partition]
        member.incoming.clear()
        member.owned.clear()
        member.revoking.clear()
        member.wake()
        self._share_out()

    def expel(self, instance: str) -> None:
        """Throw a member out; it learns of it by what it does next."""
        member = self.members.get(instance)
        if member is not None:
            self.leave(member)

    def give_back(self, member: Member) -> list[Partition]:
        """Take from a member what it is to give back, for others to take over at once."""
        returned = sorted(member.revoking)
        for partition in returned:
            member.owned.discard(partition)
            del self._holders[partition]
        member.revoking.clear()
        for partition in returned:
            self._hand_to_target(partition)
        return returned

    def hand_over(self, member: Member, partition: Partition) -> None:
        """Say that a member has taken over a partition that was coming to it."""
        member.incoming.remove(partition)
        member.owned.add(partition)

    def _share_out(self) -> None:
        self.generation += 1
        for member in self.members.values():
            member.generation = self.generation
        shares = share_out(
            self._targets,
            {instance: member.topics for instance, member in self.members.items()},
            {partition: member.instance for partition, member in self._targets.items() if member.alive},
        )
        if not self.members:
            self._targets.clear()
            return
        for partition, instance in shares.items():
            self._targets[partition] = self.members[instance]
            self._hand_to_target(partition)

    def _hand_to_target(self, partition: Partition) -> None:
        target = self._targets.get(partition)
        if target is None or not target.alive:
            return
        holder = self._holders.get(partition)
        if holder is target:
            target.revoking.discard(partition)
            return
        if holder is not None:
            if partition not in holder.incoming:
                holder.revoking.add(partition)
                holder.wake()
                return
            holder.incoming.discard(partition)
        self._holders[partition] = target
        target.incoming.add(partition)
        target.wake()


def share_out(
    partitions: Collection[Partition], members: Mapping[str, frozenset[str]], owners: Mapping[Partition, str]
) -> dict[Partition, str]:
    """Give each partition to a member that wants its topic: evenly, and away from its owner only if it must.

    `members` maps instances to their topics, `owners` says who has what today.  The same question has the
    same answer, whatever the order of the arguments.
    """
    loads = dict.fromkeys(sorted(members), 0)
    shares: dict[Partition, str] = {}
    free: list[Partition] = []
    for partition in sorted(partitions):
        owner = owners.get(partition)
        if owner is not None and owner in members and partition.topic in members[owner]:
            shares[partition] = owner
            loads[owner] += 1
        else:
            free.append(partition)
    for partition in free:
        wanting = [instance for instance in loads if partition.topic in members[instance]]
        if wanting:
            taker = min(wanting, key=loads.__getitem__)
            shares[partition] = taker
            loads[taker] += 1
    moved = True
    while moved:
        moved = False
        for partition in sorted(shares):
            owner = shares[partition]
            wanting = [instance for instance in loads if partition.topic in members[instance]]
            taker = min(wanting, key=loads.__getitem__)
            if loads[owner] > loads[taker] + 1:
                shares[partition] = taker
                loads[owner] -= 1
                loads[taker] += 1
                moved = True
    return shares
