"""Our reading beside nvidia-smi's, line by line."""

from dataclasses import replace

import pytest

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.scheduler.comparison import QUERY, Agreement, ComparisonImpossible, compare, disagreements
from ogpu_provider.scheduler.reading import DeviceReading, Gauges, Reading

MIB = 1 << 20
GAUGES = Gauges(
    memory_reserved=512 * MIB,
    utilisation=97,
    memory_utilisation=40,
    temperature=71,
    power=312.5,
    power_limit=450,
    clock=2520,
    clock_max=3105,
    clock_memory=10251,
    clock_memory_max=10501,
    pcie_width=16,
    pcie_width_max=16,
    pcie_generation=4,
    ecc_corrected=3,
    ecc_uncorrected=0,
)
CARD = DeviceReading(Device("GPU-1", Environment.NVIDIA, "NVIDIA RTX 4090", 24564 * MIB, 4608 * MIB), GAUGES)
HERE = Reading((CARD,), (), "580.65.06")
SAID = {
    "uuid": "GPU-1",
    "driver_version": "580.65.06",
    "name": "NVIDIA RTX 4090",
    "memory.total": "24564",
    "memory.used": "4096",
    "memory.reserved": "512",
    "utilization.gpu": "12",
    "utilization.memory": "3",
    "temperature.gpu": "70",
    "power.draw": "305.91",
    "enforced.power.limit": "450.00",
    "clocks.sm": "2500",
    "clocks.mem": "10251",
    "clocks.max.sm": "3105",
    "clocks.max.mem": "10501",
    "pcie.link.width.current": "16",
    "pcie.link.width.max": "16",
    "pcie.link.gen.current": "4",
    "ecc.errors.corrected.volatile.total": "3",
    "ecc.errors.uncorrected.volatile.total": "0",
}


def said(**changes: str) -> str:
    told = SAID | {name.replace("__", "."): value for name, value in changes.items()}
    return ", ".join(told[name] for name in QUERY) + "\n"


def verdicts(output: str, here: Reading = HERE, before: Reading | None = None) -> dict[str, str]:
    return {row.field: row.agreement for row in compare(before or here, here, output)}


def test_every_field_that_is_asked_for_is_compared() -> None:
    found = verdicts(said())
    assert set(found) == set(QUERY)
    assert Agreement.DIFFERS not in found.values()
    assert {name for name, how in found.items() if how is Agreement.NEAR} == {"temperature.gpu", "power.draw"}
    assert {name for name, how in found.items() if how is Agreement.SHOWN} == {
        "utilization.gpu",
        "utilization.memory",
        "clocks.sm",
        "clocks.mem",
        "pcie.link.gen.current",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("driver_version", "580.65.07"),
        ("name", "NVIDIA RTX 4080"),
        ("memory__total", "24563"),
        ("memory__used", "8000"),
        ("temperature__gpu", "40"),
        ("power__draw", "900.00"),
        ("enforced__power__limit", "449.00"),
        ("pcie__link__width__current", "8"),
        ("ecc__errors__corrected__volatile__total", "4"),
        ("clocks__max__sm", "[N/A]"),
    ],
)
def test_what_differs_is_said(name: str, value: str) -> None:
    (row,) = disagreements(compare(HERE, HERE, said(**{name: value})))
    assert row.field == name.replace("__", ".")


def test_what_moves_may_be_anywhere_between_our_two_readings() -> None:
    cold = Reading((replace(CARD, gauges=replace(GAUGES, temperature=40, power=60)),), (), "580.65.06")
    told = verdicts(said(temperature__gpu="55", power__draw="180"), before=cold)
    assert (told["temperature.gpu"], told["power.draw"]) == (Agreement.NEAR, Agreement.NEAR)


def test_what_neither_tells_is_no_difference() -> None:
    bare = Reading((replace(CARD, gauges=replace(GAUGES, ecc_corrected=None)),), (), "580.65.06")
    told = verdicts(said(ecc__errors__corrected__volatile__total="[N/A]"), bare)
    assert told["ecc.errors.corrected.volatile.total"] is Agreement.UNTOLD


def test_a_card_that_only_one_sees_differs() -> None:
    rows = compare(HERE, HERE, said(uuid="GPU-2"))
    assert [(row.card, row.ours, row.theirs) for row in disagreements(rows)] == [
        ("GPU-1", "GPU-1", ""),
        ("GPU-2", "", "GPU-2"),
    ]


def test_of_a_split_card_only_what_is_the_cards_is_compared() -> None:
    part = replace(CARD, device=replace(CARD.device, id="MIG-1", part_of="GPU-1", memory_total=10))
    told = verdicts(said(), Reading((part,), (), "580.65.06"))
    assert told["temperature.gpu"] is Agreement.NEAR
    assert {told[name] for name in ("name", "memory.total", "memory.used")} == {Agreement.SHOWN}


def test_an_answer_to_another_question_is_none() -> None:
    with pytest.raises(ComparisonImpossible) as refused:
        compare(HERE, HERE, "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver\n")
    assert refused.value.code == "device.not_comparable"
