"""Sharing partitions out over members."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flowtide.log.embedded.groups import Group, Member, share_out
from flowtide.log.port import Partition

_BOTH = frozenset({"a", "b"})
_partitions = st.sets(
    st.builds(Partition, st.sampled_from(["a", "b"]), st.integers(min_value=0, max_value=9)), max_size=20
)
_members = st.sets(st.sampled_from(["one", "two", "three", "four"]), min_size=1)


def _ignore() -> None:
    """Nobody waits in these tests."""


def _member(instance: str) -> Member:
    return Member(instance=instance, topics=_BOTH, wake=_ignore)


@given(_partitions, _members, st.data())
def test_shares_are_complete_even_and_sticky(
    partitions: set[Partition], members: set[str], data: st.DataObject
) -> None:
    """Every partition has a member, loads differ by one at most, and sharing out again moves nothing."""
    topics = dict.fromkeys(members, _BOTH)
    names = st.sampled_from([*sorted(members), "gone"])
    owners = {partition: data.draw(names) for partition in sorted(partitions)}

    shares = share_out(partitions, topics, owners)

    assert shares.keys() == partitions
    loads = [list(shares.values()).count(instance) for instance in members]
    assert max(loads) - min(loads) <= 1
    assert share_out(partitions, topics, shares) == shares


def test_members_get_only_the_topics_that_they_want() -> None:
    """Partitions of a topic go to its subscribers only, also when others have less to do."""
    members = {"one": frozenset({"a"}), "two": _BOTH}
    partitions = [Partition(topic, number) for topic in ("a", "b") for number in range(3)]
    shares = share_out(partitions, members, {})
    assert {shares[Partition("b", number)] for number in range(3)} == {"two"}
    assert [shares[Partition("a", number)] for number in range(3)] == ["one", "one", "one"]


def test_a_partition_moves_only_after_it_was_given_back() -> None:
    """Cooperatively: the owner keeps working until it has said that it stopped."""
    partitions = [Partition("a", number) for number in range(2)]
    group = Group("g")
    first, second = _member("one"), _member("two")
    group.join(first, partitions)
    for partition in partitions:
        group.hand_over(first, partition)
    group.join(second, partitions)

    assert second.incoming == set()
    (moving,) = first.revoking
    assert first.owned == set(partitions)
    assert group.give_back(first) == [moving]

    assert second.incoming == {moving}
    assert first.owned == set(partitions) - {moving}


def test_an_expelled_member_loses_all_at_once() -> None:
    """Its partitions go to others without asking it, and it knows that it is no member."""
    partitions = [Partition("a", number) for number in range(2)]
    group = Group("g")
    first, second = _member("one"), _member("two")
    group.join(first, partitions)
    group.join(second, partitions)
    group.expel("one")
    assert not first.alive
    assert first.owned == first.incoming == first.revoking == set()
    assert second.incoming == set(partitions)
    assert group.generation == 3
