from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.placement import choose_devices, choose_environment

CPU, NVIDIA, AMD = Environment.CPU, Environment.NVIDIA, Environment.AMD


def card(name: str, used: int = 0, environment: Environment = NVIDIA, total: int = 100) -> Device:
    return Device(name, environment, "card", total, used)


@pytest.mark.parametrize(
    ("offered", "present", "chosen"),
    [
        ({CPU, NVIDIA, AMD}, {NVIDIA, AMD}, NVIDIA),
        ({CPU, AMD}, {NVIDIA, AMD}, AMD),
        ({CPU, NVIDIA}, {AMD}, CPU),
        ({CPU, NVIDIA, AMD}, set(), CPU),
        ({NVIDIA}, {AMD}, None),
        (set(), {NVIDIA}, None),
    ],
)
def test_the_best_environment_that_is_offered_and_present(
    offered: set[Environment], present: set[Environment], chosen: Environment | None
) -> None:
    host = Host(4, tuple(card(env.label, environment=env) for env in present))
    assert choose_environment(frozenset(offered), host) is chosen


def ids(devices: tuple[Device, ...] | None) -> list[str] | None:
    return None if devices is None else [device.id for device in devices]


HOST = Host(4, (card("a", used=50), card("b"), card("c"), card("amd", environment=AMD)))


def test_most_free_memory_first_and_equals_in_the_order_of_the_host() -> None:
    assert ids(choose_devices(HOST, NVIDIA, 3, taken=())) == ["b", "c", "a"]


def test_free_is_counted_and_not_total() -> None:
    host = Host(1, (card("big", used=90, total=100), card("small", total=20)))
    assert ids(choose_devices(host, NVIDIA, 1, taken=())) == ["small"]


def test_taken_devices_and_those_of_another_vendor_are_left_alone() -> None:
    assert ids(choose_devices(HOST, NVIDIA, 1, taken={"b"})) == ["c"]
    assert ids(choose_devices(HOST, AMD, 1, taken=())) == ["amd"]


def test_all_or_nothing() -> None:
    assert choose_devices(HOST, NVIDIA, 3, taken={"a"}) is None
    assert choose_devices(HOST, CPU, 1, taken=()) is None


def test_none_needed_is_none_given() -> None:
    assert choose_devices(HOST, CPU, 0, taken=()) == ()


def test_what_is_held_comes_first_in_the_order_in_which_it_is_held() -> None:
    assert ids(choose_devices(HOST, NVIDIA, 2, taken=(), keep=("a", "c"))) == ["a", "c"]
    assert ids(choose_devices(HOST, NVIDIA, 2, taken=(), keep=("gone", "a"))) == ["a", "b"]


def test_a_withheld_device_is_kept_by_its_holder_and_given_to_nobody_else() -> None:
    hot = replace(card("hot"), withheld=(Reason("gpu.driver_hangs", "silent"),))
    host = Host(1, (hot, card("cool", used=90)))
    assert ids(choose_devices(host, NVIDIA, 1, taken=())) == ["cool"]
    assert ids(choose_devices(host, NVIDIA, 1, taken=(), keep=("hot",))) == ["hot"]
    assert choose_devices(host, NVIDIA, 2, taken=()) is None


def test_a_negative_count_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="-1"):
        choose_devices(HOST, NVIDIA, -1, taken=())


_CARDS = st.lists(
    st.builds(card, st.text("abcdef", min_size=1, max_size=3), st.integers(0, 100), st.sampled_from([NVIDIA, AMD])),
    max_size=6,
    unique_by=lambda device: device.id,
)


@given(cards=_CARDS, count=st.integers(0, 6), taken=st.frozensets(st.text("abcdef", min_size=1, max_size=3)))
def test_as_many_as_asked_for_each_once_free_and_fit(cards: list[Device], count: int, taken: frozenset[str]) -> None:
    host = Host(1, tuple(cards))
    free = [device for device in cards if device.environment is NVIDIA and device.id not in taken]
    chosen = choose_devices(host, NVIDIA, count, taken=taken)
    assert (chosen is None) == (len(free) < count)
    if chosen is not None:
        assert len(set(chosen)) == count
        assert set(chosen) <= set(free)
        rest = [device for device in free if device not in chosen]
        assert all(device.memory_used <= other.memory_used for device in chosen for other in rest)
