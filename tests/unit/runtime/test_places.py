"""Who goes out for a newcomer, and that one source leaves another's places alone."""

from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.callback.places import Place, Places

SOURCE, OTHER = Address("0x" + "5A" * 20), Address("0x" + "5B" * 20)


class Room:
    def __init__(self, waiting: int, per_peer: int, per_source: int) -> None:
        self.places = Places(waiting, per_peer, per_source)
        self.out: list[Place] = []
        self.made: list[Place] = []

    def enter(self, peer: str) -> Place:
        place = Place(peer, lambda: self.out.append(place))
        self.made.append(place)
        self.places.enter(place)
        return place


def test_a_peers_own_oldest_makes_room_for_its_next() -> None:
    room = Room(10, 2, 9)
    stranger = room.enter("b")
    first, second = room.enter("a"), room.enter("a")
    room.enter("a")
    assert room.out == [first]
    room.places.leave(second)
    room.enter("a")
    assert room.out == [first]
    assert stranger not in room.out


def test_who_waits_for_us_is_not_put_out_for_those_that_hold_more() -> None:
    room = Room(100, 64, 9)
    few = [room.enter("few") for _ in range(8)]
    for number in range(500):
        room.enter(f"many {number % 10}")
    assert len(room.out) == 408
    assert not set(few) & set(room.out)


def test_a_source_has_its_own_places_and_gives_them_back() -> None:
    room = Room(10, 9, 2)
    shown = [room.enter("a") for _ in range(3)]
    assert [room.places.show(place, SOURCE) for place in shown] == [True, True, False]
    other = room.enter("a")
    assert room.places.show(other, OTHER)
    room.places.leave(shown[0])
    room.places.leave(shown[0])
    assert room.places.show(shown[2], SOURCE)
    assert not room.places.show(room.enter("a"), SOURCE)
    assert room.out == []


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60))
def test_there_are_never_more_than_the_limits_say(steps: list[tuple[str, bool]]) -> None:
    room = Room(6, 3, 2)
    waiting: list[Place] = []
    for peer, shows in steps:
        place = room.enter(peer)
        waiting = [each for each in (*waiting, place) if each not in room.out]
        assert len(waiting) <= 6
        assert all(sum(each.peer == one for each in waiting) <= 3 for one in "abcd")
        assert place not in room.out, "a newcomer gets in"
        if shows and room.places.show(place, SOURCE):
            waiting.remove(place)
    assert sum(place.source is SOURCE for place in room.made) <= 2
