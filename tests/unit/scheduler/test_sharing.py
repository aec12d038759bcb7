"""Two sources on one card: only where the operator allows it, and only what is known to fit."""

from ogpu_provider.domain.learnt import Fact, Key, Knowledge
from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.scheduler.sharing import Sharing

NVIDIA = Environment.NVIDIA
GIB = 1 << 30
A, B, C = (Address("0x" + f"{n:02x}" * 20) for n in (0xAA, 0xBB, 0xCC))
CARD = Device("g0", NVIDIA, "RTX 4090", 24 * GIB)
OTHER = Device("g1", NVIDIA, "RTX 3060", 12 * GIB)
PEAKS = {("a", "RTX 4090"): 10 * GIB, ("b", "RTX 4090"): 12 * GIB, ("c", "RTX 4090"): GIB + 1}


def knowing(peaks: dict[tuple[str, str], int]) -> Knowledge:
    knowledge = Knowledge()
    for (image, card), memory in peaks.items():
        knowledge.add(Key(Fact.PEAK_MEMORY, image, card), memory, at=0)
    return knowledge


def scheduler(knowledge: Knowledge | None, *devices: Device, reserve: int = GIB, allowed: bool = True) -> HostScheduler:
    sharing = Sharing(knowledge or Knowledge(), reserve) if allowed else None
    return HostScheduler(Host(4, devices or (CARD,)), AdmissionPolicy(), sharing=sharing)


def granted(s: HostScheduler, source: Address, image: str, count: int = 1) -> list[str] | None:
    devices = s.grant_devices(source, NVIDIA, count, (image,))
    return None if devices is None else [device.id for device in devices]


def test_known_peaks_that_fit_with_the_reserve_share_a_card() -> None:
    s = scheduler(knowing(PEAKS))
    assert granted(s, A, "a") == ["g0"]
    assert granted(s, B, "b") == ["g0"], "10 + 12 + 1 of 24 GiB"
    assert granted(s, C, "c") is None, "nothing is left but the reserve"
    assert [lease.memory >> 30 for lease in s.snapshot().leases] == [10, 12]


def test_peaks_that_do_not_fit_do_not_share() -> None:
    s = scheduler(knowing({**PEAKS, ("b", "RTX 4090"): 13 * GIB + 1}))
    assert granted(s, A, "a") == ["g0"]
    assert granted(s, B, "b") is None
    s = scheduler(knowing(PEAKS), reserve=2 * GIB + 1)
    assert granted(s, A, "a") == ["g0"]
    assert granted(s, B, "b") is None


def test_without_the_operators_word_a_card_is_one_sources_alone() -> None:
    s = scheduler(knowing(PEAKS), allowed=False)
    assert granted(s, A, "a") == ["g0"]
    assert granted(s, B, "b") is None


def test_an_unknown_peak_takes_the_whole_card_and_joins_nobody() -> None:
    s = scheduler(knowing(PEAKS))
    assert granted(s, A, "never seen") == ["g0"]
    assert granted(s, B, "b") is None
    s = scheduler(knowing(PEAKS))
    granted(s, B, "b")
    assert granted(s, A, "never seen") is None


def test_a_peak_on_another_model_says_nothing() -> None:
    s = scheduler(knowing(PEAKS), OTHER)
    assert granted(s, A, "a") == ["g1"]
    assert granted(s, C, "c") is None


def test_of_two_containers_on_one_card_the_peaks_add_up_and_one_unknown_is_all_unknown() -> None:
    s = scheduler(knowing(PEAKS))
    s.grant_devices(A, NVIDIA, 1, ("a", "b"))
    assert [lease.memory >> 30 for lease in s.snapshot().leases] == [22]
    assert s.grant_devices(B, NVIDIA, 1, ("c", "never seen")) is None


def test_a_free_card_goes_before_a_shared_one() -> None:
    s = scheduler(knowing(PEAKS), CARD, OTHER)
    assert granted(s, A, "a") == ["g0"]
    assert granted(s, C, "c") == ["g1"]
    assert granted(s, B, "b") == ["g0"]


def test_a_source_of_several_cards_shares_none_of_them() -> None:
    s = scheduler(knowing(PEAKS), CARD, Device("g2", NVIDIA, "RTX 4090", 24 * GIB))
    assert granted(s, A, "a", 2) == ["g0", "g2"]
    assert granted(s, C, "c") is None


def test_one_that_had_a_card_alone_makes_room_once_its_peak_is_known() -> None:
    knowledge = knowing({("b", "RTX 4090"): 12 * GIB})
    s = scheduler(knowledge)
    assert granted(s, A, "a") == ["g0"]
    assert s.share(A) == 0
    assert granted(s, B, "b") is None
    knowledge.add(Key(Fact.PEAK_MEMORY, "a", "RTX 4090"), 10 * GIB, at=1)
    assert s.share(A) == 10 * GIB
    assert granted(s, B, "b") == ["g0"]


def test_a_peak_that_has_grown_lets_nobody_else_in_and_drives_nobody_out() -> None:
    knowledge = knowing(PEAKS)
    s = scheduler(knowledge)
    granted(s, A, "a")
    granted(s, B, "b")
    knowledge.add(Key(Fact.PEAK_MEMORY, "a", "RTX 4090"), 14 * GIB, at=1)
    assert s.share(A) == 10 * GIB, "14 do not fit beside 12"
    assert granted(s, A, "a") == ["g0"], "what runs stays"
    s.release("source:" + B)
    knowledge.add(Key(Fact.PEAK_MEMORY, "b", "RTX 4090"), 9 * GIB + 1, at=1)
    assert granted(s, B, "b") is None, "what the first one needs now counts, not what it was granted"
    assert s.share(A) == 14 * GIB


def test_a_slice_is_a_device_of_its_own() -> None:
    slices = tuple(Device(f"MIG-{n}", NVIDIA, "MIG 1g.10gb", 10 * GIB, part_of="g0") for n in range(2))
    s = scheduler(knowing({("a", "MIG 1g.10gb"): 6 * GIB, ("c", "MIG 1g.10gb"): 3 * GIB}), *slices)
    assert granted(s, A, "a") == ["MIG-0"]
    assert granted(s, B, "a") == ["MIG-1"]
    assert granted(s, C, "c") == ["MIG-0"]
