"""What the embedded front counts for each address, and who goes when there are too many."""

from __future__ import annotations

from sealora_server.deployment.front.rules import ConnectionLimit, RateLimit, Slot


class Door:
    """A front with ten places. Notes who was driven out."""

    def __init__(self, per_address: int = 10) -> None:
        self.limit = ConnectionLimit(total=10, per_address=per_address, per_second=1000.0)
        self.driven_out: list[str] = []

    def comes(self, name: str, address: str) -> Slot | None:
        """A new connection; `name` is noted if it is closed."""
        return self.limit.enter(address, 0.0, lambda: self.driven_out.append(name))

    def known(self, name: str, address: str) -> Slot:
        """A connection on which a node was heard."""
        slot = self.comes(name, address)
        assert slot is not None
        self.limit.know(slot)
        return slot


def test_the_oldest_stranger_of_the_largest_crowd_goes_and_not_who_came_first() -> None:
    door = Door()
    door.comes("early", "a")
    for number in range(4):
        door.comes(f"crowd {number}", "b")
    assert door.driven_out == []
    door.comes("late", "c")
    assert door.driven_out == ["crowd 0"]
    door.comes("later", "c")
    assert door.driven_out == ["crowd 0", "crowd 1"]


def test_nodes_that_were_heard_leave_strangers_the_places_that_are_left() -> None:
    door = Door()
    for number in range(8):
        door.known(f"node {number}", "a")
    for number in range(2):
        door.comes(f"stranger {number}", "b")
    assert door.driven_out == []  # all ten places are taken
    door.comes("one more", "c")
    assert door.driven_out == ["stranger 0"]


def test_a_node_that_is_heard_frees_a_place_among_strangers() -> None:
    door = Door()
    slots = [door.comes(str(number), "a") for number in range(5)]
    assert slots[0] is not None
    door.limit.know(slots[0])
    door.comes("one more", "b")
    assert door.driven_out == []


def test_an_address_has_its_places_again_as_its_connections_close_each_once() -> None:
    door = Door(per_address=2)
    first = door.comes("first", "a")
    assert door.comes("second", "a") is not None
    assert door.comes("third", "a") is None
    door.limit.leave(first)
    door.limit.leave(first)  # said more than once
    door.limit.leave(None)
    assert door.limit.enter("a", 1.0, lambda: None) is not None
    assert door.limit.enter("a", 1.0, lambda: None) is None


def test_a_node_that_is_heard_when_its_connection_has_closed_changes_nothing() -> None:
    door = Door(per_address=2)
    gone, stays = door.comes("gone", "a"), door.comes("stays", "a")
    assert gone is not None
    door.limit.leave(gone)
    door.limit.know(gone)
    door.limit.leave(gone)
    assert door.limit.enter("a", 1.0, lambda: None) is not None
    assert door.limit.enter("a", 1.0, lambda: None) is None
    door.limit.leave(stays)
    assert door.limit.enter("a", 2.0, lambda: None) is not None


def test_who_asks_on_is_not_forgotten_for_those_that_come_after() -> None:
    limit = RateLimit(per_second=0.0, burst=1, addresses=2)
    assert limit.allows("a", 0.0)
    assert limit.allows("b", 0.0)
    assert not limit.allows("a", 0.0)
    assert limit.allows("c", 0.0)  # in place of `b`, which was quiet longest
    assert not limit.allows("a", 0.0)
    assert limit.allows("b", 0.0)


def test_no_address_saves_up_more_than_a_burst() -> None:
    limit = RateLimit(per_second=1.0, burst=3)
    assert [limit.allows("a", 1000.0) for _ in range(4)] == [True, True, True, False]
    assert [limit.allows("a", 9000.0) for _ in range(4)] == [True, True, True, False]
