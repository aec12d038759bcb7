"""What a card's instruments say of its health, reading after reading."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.health import Health, HealthPolicy
from ogpu_provider.scheduler.reading import DeviceReading, Gauges
from ogpu_provider.scheduler.xid import APPLICATION, NAMES, NOTES, Fault, fault_of, named

CARD = Device("GPU-1", Environment.NVIDIA, "card", 1 << 34)
OTHER = replace(CARD, id="GPU-2")
LOST = Reason("gpu.lost", "NVIDIA GPU 0 is left out: GPU is lost")
SLOW = Reason("gpu.driver_hangs", "no answer")


class Bench:
    """Readings, `every` seconds apart."""

    def __init__(self, every: float = 10.0, **policy: object) -> None:
        self.health = Health(HealthPolicy(**policy))  # type: ignore[arg-type]
        self.every, self.now = every, 1000.0

    def see(self, *found: DeviceReading, problems: tuple[Reason, ...] = ()) -> list[tuple[str, str]]:
        self.now += self.every
        return [(each.card, each.reason.code) for each in self.health.look(found, problems, self.now)]

    def gauges(self, **gauges: object) -> list[str]:
        return [code for _, code in self.see(DeviceReading(CARD, Gauges(**gauges)))]  # type: ignore[arg-type]


def xid(*numbers: int, device: Device = CARD) -> DeviceReading:
    return DeviceReading(device, xids=numbers)


def test_an_xid_that_no_program_causes_is_held_against_its_card_alone() -> None:
    bench = Bench()
    assert bench.see(xid(79, 48, 79), DeviceReading(OTHER)) == [("GPU-1", "gpu.xid")]
    (ailment,) = bench.health.look([xid(79, 48, 79)], (), bench.now)
    assert ailment.reason.text == "Xid 79 (fallen off the bus), Xid 48 (double-bit ECC error)"
    assert bench.see(DeviceReading(CARD)) == []


@pytest.mark.parametrize("number", sorted(APPLICATION | NOTES))
def test_what_programs_cause_and_what_was_mended_is_not(number: int) -> None:
    assert Bench().see(xid(number)) == []
    assert number in NAMES


def test_an_xid_that_nobody_knows_is_and_one_that_the_operator_ignores_is_not() -> None:
    assert fault_of(777) is Fault.CARD
    assert named(777) == "Xid 777"
    assert Bench().see(xid(777)) == [("GPU-1", "gpu.xid")]
    assert Bench(xid_ignored=frozenset({777})).see(xid(777)) == []


def test_memory_errors_count_when_they_are_new() -> None:
    bench = Bench(ecc_uncorrected=2)
    assert bench.gauges(ecc_uncorrected=1) == []
    assert bench.gauges(ecc_uncorrected=2) == ["gpu.ecc"]
    assert bench.gauges(ecc_uncorrected=3) == []
    assert bench.gauges(ecc_uncorrected=4) == ["gpu.ecc"]
    assert bench.gauges(ecc_uncorrected=0) == []  # the driver was loaded anew
    assert bench.gauges(ecc_uncorrected=1) == []
    assert bench.gauges(ecc_uncorrected=2) == ["gpu.ecc"]
    assert Bench(ecc_uncorrected=0).gauges(ecc_uncorrected=1000) == []


def test_errors_that_were_dealt_with_before_do_not_count_again() -> None:
    health = Health(HealthPolicy(), counted=["GPU-1"])
    five = DeviceReading(CARD, Gauges(ecc_uncorrected=5))
    assert health.look([five], (), 0.0) == []
    (ailment,) = health.look([DeviceReading(CARD, Gauges(ecc_uncorrected=6))], (), 1.0)
    assert ailment.reason.text == "1 memory errors could not be corrected (6 since the driver was loaded)"


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(1, 5))
def test_no_new_error_is_counted_twice_or_forgotten(steps: list[int], threshold: int) -> None:
    """Each `threshold` errors are told once; what is left over waits for more."""
    bench, total, owed = Bench(ecc_uncorrected=threshold), 0, 0
    for step in steps:
        total, owed = total + step, owed + step
        assert (bench.gauges(ecc_uncorrected=total) == ["gpu.ecc"]) == (owed >= threshold)
        owed = 0 if owed >= threshold else owed


def test_a_row_that_could_not_be_replaced_lasts() -> None:
    bench = Bench()
    assert bench.gauges(rows_failed=True) == ["gpu.rows"]
    assert bench.gauges(rows_failed=True) == ["gpu.rows"]
    assert bench.health.stands("GPU-1") == "a broken row of its memory could not be replaced"
    assert bench.gauges(rows_failed=False) == []
    assert bench.health.stands("GPU-1") == ""


def test_heat_must_last_and_is_over_when_it_is_clearly_cooler() -> None:
    bench = Bench(every=30.0, hold=60.0)
    hot = {"temperature": 91.0, "temperature_slowdown": 90.0}
    assert bench.gauges(**hot) == []
    assert bench.gauges(**hot) == []
    assert bench.gauges(**hot) == ["gpu.thermal"]
    assert bench.gauges(temperature=87.0, temperature_slowdown=90.0) == ["gpu.thermal"]
    assert bench.gauges(temperature=84.0, temperature_slowdown=90.0) == []
    assert bench.gauges(**hot) == []


def test_the_operators_limit_goes_before_the_cards_and_without_any_nothing_is_too_hot() -> None:
    bench = Bench(hold=1.0, max_temperature=70.0)
    assert bench.gauges(temperature=75.0, temperature_slowdown=90.0) == []
    assert bench.gauges(temperature=75.0, temperature_slowdown=90.0) == ["gpu.thermal"]
    bench = Bench(hold=1.0)
    assert [bench.gauges(temperature=140.0) for _ in range(3)] == [[], [], []]


def test_fewer_lanes_than_card_and_slot_can_have() -> None:
    bench = Bench(every=60.0)
    assert bench.gauges(pcie_width=4, pcie_width_max=16) == []
    assert bench.gauges(pcie_width=4, pcie_width_max=16) == ["gpu.pcie"]
    assert bench.health.stands("GPU-1") == "4 of 16 PCIe lanes"
    assert bench.gauges(pcie_width=16, pcie_width_max=16) == []
    bench = Bench(every=60.0, pcie_share=0.25)
    assert [bench.gauges(pcie_width=4, pcie_width_max=16) for _ in range(3)] == [[], [], []]
    assert [bench.gauges(pcie_width=0, pcie_width_max=16) for _ in range(3)] == [[], [], []]  # not told


def test_a_card_that_was_there_is_lost_when_a_reading_says_that_one_is() -> None:
    bench = Bench()
    bench.see(DeviceReading(CARD), DeviceReading(OTHER))
    assert bench.see(DeviceReading(OTHER), problems=(LOST,)) == [("GPU-1", "gpu.lost")]
    assert bench.health.stands("GPU-1") == LOST.text
    assert bench.see(DeviceReading(CARD), DeviceReading(OTHER)) == []
    assert bench.health.stands("GPU-1") == ""


def test_a_card_that_was_taken_out_is_not_ill() -> None:
    bench = Bench()
    bench.see(DeviceReading(CARD), DeviceReading(OTHER))
    assert bench.see(DeviceReading(OTHER)) == []
    assert bench.see(DeviceReading(OTHER), problems=(LOST,)) == []  # some other card, never seen


def test_a_problem_that_was_there_before_does_not_explain_why_a_card_is_gone() -> None:
    """As of integrated graphics that can never be read."""
    never = Reason("gpu.unreadable", "AMD GPU 0000:0c:00.0 is left out: its memory cannot be read")
    bench = Bench()
    bench.see(DeviceReading(CARD), DeviceReading(OTHER), problems=(never,))
    assert bench.see(DeviceReading(OTHER), problems=(never,)) == []
    assert bench.see(problems=(never, LOST)) == [("GPU-2", "gpu.lost")]
    assert bench.see(problems=(never, LOST)) == [("GPU-2", "gpu.lost")]
    assert bench.see(DeviceReading(OTHER), problems=(never,)) == []


def test_old_figures_of_a_silent_driver_say_nothing() -> None:
    bench = Bench(hold=1.0)
    silent = replace(CARD, withheld=(SLOW,))
    hot = Gauges(temperature=99.0, temperature_slowdown=90.0, ecc_uncorrected=7, rows_failed=True)
    assert [bench.see(DeviceReading(silent, hot)) for _ in range(3)] == [[], [], []]


def test_what_the_operator_tolerates_holds_until_it_is_over() -> None:
    bench = Bench(every=60.0)
    narrow, wide = {"pcie_width": 8, "pcie_width_max": 16}, {"pcie_width": 16, "pcie_width_max": 16}
    bench.gauges(**narrow)
    assert bench.gauges(**narrow) == ["gpu.pcie"]
    bench.health.tolerate("GPU-1", "gpu.pcie")
    assert bench.health.stands("GPU-1") == ""
    assert [bench.gauges(**narrow) for _ in range(3)] == [[], [], []]
    bench.gauges(**wide)
    bench.gauges(**narrow)
    assert bench.gauges(**narrow) == ["gpu.pcie"]


def test_a_split_card_is_judged_once() -> None:
    parts = [DeviceReading(replace(CARD, id=f"MIG-{n}", part_of="GPU-9"), xids=(79,)) for n in range(3)]
    assert Bench().see(*parts) == [("GPU-9", "gpu.xid")]
