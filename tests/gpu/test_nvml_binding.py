"""The real binding, pynvml, against a library that does what real ones do on good and bad days."""

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.reading import Gauges, GpuProcess, Reading
from tests.gpu.machine import Machine

GIB = 1 << 30
FIRST = f"gpu|GPU-1111|NVIDIA RTX 4090|{24 * GIB}|{4 * GIB}|ok|off"
SECOND = f"gpu|GPU-2222|NVIDIA RTX 3060|{12 * GIB}|0|ok|none"
A100 = f"gpu|GPU-aaaa|NVIDIA A100|{80 * GIB}|0|ok|on"


def ids(machine: Machine) -> list[str]:
    return [device.id for device in machine.read().devices]


def problems(reading: Reading) -> list[str]:
    return [problem.code for problem in reading.problems]


def test_two_gpus_with_their_names_and_memory(machine: Machine) -> None:
    machine.script(FIRST, SECOND)
    reading = machine.read()
    assert reading.devices == (
        Device("GPU-1111", Environment.NVIDIA, "NVIDIA RTX 4090", 24 * GIB, 4 * GIB),
        Device("GPU-2222", Environment.NVIDIA, "NVIDIA RTX 3060", 12 * GIB, 0),
    )
    assert reading.problems == ()
    assert reading.driver == "580.65.06"


def test_processes_are_listed_also_where_the_driver_does_not_tell_their_memory(machine: Machine) -> None:
    machine.script(FIRST, f"proc|4242|{GIB}", "proc|4343|-", SECOND)
    first, second = machine.read().found
    assert first.processes == (GpuProcess(4242, GIB), GpuProcess(4343, None))
    assert second.processes == ()


def test_who_draws_is_told_from_who_computes(machine: Machine) -> None:
    machine.script(FIRST, "draw|900|5000", "draw|901|7000", f"proc|901|{GIB}")
    (card,) = machine.read().found
    assert card.processes == (GpuProcess(900, 5000, graphics=True), GpuProcess(901, GIB))


def test_the_instances_of_a_split_gpu_are_the_devices_and_the_gpu_is_not(machine: Machine) -> None:
    machine.script(
        A100,
        f"mig|MIG-1|NVIDIA A100 MIG 3g.40gb|{40 * GIB}|{GIB}",
        "mig|-",
        f"mig|MIG-2|NVIDIA A100 MIG 2g.20gb|{20 * GIB}|0",
        FIRST,
    )
    reading = machine.read()
    found = [(device.id, device.memory_total // GIB) for device in reading.devices]
    assert found == [("MIG-1", 40), ("MIG-2", 20), ("GPU-1111", 24)]
    assert problems(reading) == []


def test_a_split_gpu_without_instances_is_no_device_and_says_so(machine: Machine) -> None:
    machine.script(A100)
    reading = machine.read()
    assert reading.devices == ()
    assert problems(reading) == ["gpu.no_instances"]


def test_a_lost_gpu_is_left_out_and_the_others_stay(machine: Machine) -> None:
    machine.script(FIRST.replace("|ok|", "|lost|"), SECOND)
    reading = machine.read()
    assert [device.id for device in reading.devices] == ["GPU-2222"]
    assert reading.problems == (Reason("gpu.lost", "NVIDIA GPU 0 is left out: GPU is lost"),)


def test_a_gpu_lost_between_two_questions_is_left_out_whole(machine: Machine) -> None:
    machine.script(FIRST.replace("|ok|", "|dying|"), SECOND)
    reading = machine.read()
    assert [device.id for device in reading.devices] == ["GPU-2222"]
    assert problems(reading) == ["gpu.lost"]


def test_an_instance_that_is_lost_takes_its_gpu_out(machine: Machine) -> None:
    machine.script(A100, "mig|MIG-1|NVIDIA A100 MIG|1|0", "mig|MIG-2|NVIDIA A100 MIG|1|0|dying", SECOND)
    reading = machine.read()
    assert [device.id for device in reading.devices] == ["GPU-2222"]
    assert problems(reading) == ["gpu.lost"]


def test_a_gpu_that_we_may_not_touch_is_left_out(machine: Machine) -> None:
    machine.script(FIRST.replace("|ok|", "|sealed|"), SECOND)
    reading = machine.read()
    assert [device.id for device in reading.devices] == ["GPU-2222"]
    assert problems(reading) == ["gpu.unreadable"]


def test_a_gpu_that_tells_neither_name_nor_memory_is_still_one(machine: Machine) -> None:
    machine.script(SECOND.replace("|ok|", "|bare|"))
    (found,) = machine.read().found
    assert (found.device.id, found.device.name, found.device.memory_total) == ("GPU-2222", "NVIDIA GPU", 0)
    assert found.gauges == Gauges()


def test_a_host_without_the_library_has_no_gpus_and_nothing_to_complain_about(bare_machine: Machine) -> None:
    bare_machine.script(FIRST)
    assert bare_machine.read() == Reading()


def test_a_library_without_its_driver_says_so(machine: Machine) -> None:
    machine.script("driver|missing")
    reading = machine.read()
    assert reading.devices == ()
    assert problems(reading) == ["gpu.no_driver"]


def test_a_driver_updated_under_the_library_says_so(machine: Machine) -> None:
    machine.script("driver|mismatch", FIRST)
    reading = machine.read()
    assert reading.devices == ()
    assert problems(reading) == ["gpu.driver_unusable"]
    assert "mismatch" in reading.problems[0].text


def test_library_driver_and_gpus_are_noticed_as_they_come_and_go(bare_machine: Machine) -> None:
    """One process all along: nothing is remembered from the time without."""
    machine = bare_machine
    machine.script("driver|missing")
    assert ids(machine) == []
    machine.install_library()
    assert ids(machine) == []
    machine.script()
    assert ids(machine) == []
    machine.script(SECOND)
    assert ids(machine) == ["GPU-2222"]
    machine.script(FIRST, SECOND)
    assert ids(machine) == ["GPU-1111", "GPU-2222"]
    machine.script(FIRST.replace("|ok|", "|lost|"), SECOND)
    assert ids(machine) == ["GPU-2222"]
    machine.script(FIRST)
    assert ids(machine) == ["GPU-1111"]


INSTRUMENTS = {
    "reserved": 512 << 20,
    "utilisation": 97,
    "memory_utilisation": 40,
    "temperature": 71,
    "slowdown": 90,
    "power": 312500,
    "power_limit": 450000,
    "energy": 987654321,
    "clock": 2520,
    "clock_max": 3105,
    "clock_memory": 10251,
    "clock_memory_max": 10501,
    "throttle": 0x4 | 0x20,
    "pcie_width": 8,
    "pcie_width_max": 16,
    "pcie_generation": 4,
    "ecc_corrected": 3,
    "ecc_uncorrected": 1,
    "rows_failed": 0,
}


def test_every_instrument_is_read_in_its_unit(machine: Machine) -> None:
    machine.script(FIRST, *(f"gauge|{name}|{value}" for name, value in INSTRUMENTS.items()))
    (found,) = machine.read().found
    assert found.gauges == Gauges(
        memory_reserved=512 << 20,
        utilisation=97,
        memory_utilisation=40,
        temperature=71,
        temperature_slowdown=90,
        power=312.5,
        power_limit=450,
        energy=987654.321,
        clock=2520,
        clock_max=3105,
        clock_memory=10251,
        clock_memory_max=10501,
        throttled=("software power cap", "software thermal slowdown"),
        pcie_width=8,
        pcie_width_max=16,
        pcie_generation=4,
        ecc_corrected=3,
        ecc_uncorrected=1,
        rows_failed=False,
    )


def test_xid_errors_are_told_once_of_the_card_that_had_them(machine: Machine) -> None:
    machine.script(FIRST, SECOND)
    machine.xid("GPU-1111", 31)
    assert [found.xids for found in machine.read().found] == [(), ()]  # nobody listened yet
    machine.xid("GPU-2222", 79)
    machine.xid("GPU-2222", 48)
    assert [found.xids for found in machine.read().found] == [(), (79, 48)]
    assert [found.xids for found in machine.read().found] == [(), ()]


def test_instances_have_the_instruments_and_errors_of_their_card(machine: Machine) -> None:
    machine.script(A100, "mig|MIG-1|NVIDIA A100 MIG|1|0", "mig|MIG-2|NVIDIA A100 MIG|1|0", "gauge|temperature|60")
    machine.read()
    machine.xid("GPU-aaaa", 94)
    found = machine.read().found
    assert [(each.device.part_of, each.gauges.temperature, each.xids) for each in found] == [
        ("GPU-aaaa", 60, (94,))
    ] * 2


def test_a_card_that_asks_for_a_reset_is_lost_until_then(machine: Machine) -> None:
    machine.script(FIRST.replace("|ok|", "|reset|"), SECOND)
    assert problems(machine.read()) == ["gpu.lost"]
    assert ids(machine) == ["GPU-2222"]


def test_cards_are_held_open_from_one_session_to_the_next(machine: Machine) -> None:
    """A driver without persistence mode would let go of them, and begin their counters anew."""
    machine.script(FIRST, SECOND)
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (machine.dev / name).touch()
    machine.read()
    assert machine.held == []
    machine.read()
    assert sorted(machine.held) == ["nvidia0", "nvidia1"]
    (machine.dev / "nvidia0").unlink()
    assert ids(machine) == ["GPU-1111", "GPU-2222"]
    assert sorted(machine.held) == ["nvidia0", "nvidia1", "nvidia1"]
