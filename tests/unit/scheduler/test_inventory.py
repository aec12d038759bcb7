from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.inventory import Inventory, Machine
from ogpu_provider.scheduler.reading import DeviceReading, Reading

NVIDIA = Device("GPU-1", Environment.NVIDIA, "card", 100)
AMD = Device("0000:03:00.0", Environment.AMD, "card", 100)
LOST = Reason("gpu.lost", "NVIDIA GPU 0 is left out")


class Readers:
    """Two vendors whose answers a test changes."""

    def __init__(self) -> None:
        self.nvidia, self.amd = Reading(), Reading()

    async def read_nvidia(self) -> Reading:
        return self.nvidia

    async def read_amd(self) -> Reading:
        return self.amd


def found(*devices: Device) -> tuple[DeviceReading, ...]:
    return tuple(DeviceReading(device) for device in devices)


@pytest.fixture
def readers() -> Readers:
    return Readers()


@pytest.fixture
def inventory(readers: Readers) -> Inventory:
    return Inventory(4, (readers.read_nvidia, readers.read_amd))


def test_before_the_first_reading_there_is_a_cpu(inventory: Inventory) -> None:
    assert inventory.host == Host(4)
    assert inventory.host.environments == {Environment.CPU}


async def test_a_host_joins_what_the_vendors_say(inventory: Inventory, readers: Readers) -> None:
    readers.nvidia, readers.amd = Reading(found(NVIDIA), (LOST,)), Reading(found(AMD))
    assert await inventory.refresh() == Host(4, (NVIDIA, AMD))
    assert inventory.problems == (LOST,)
    assert inventory.host.environments == set(Environment)


async def test_nothing_is_remembered_from_one_reading_to_the_next(inventory: Inventory, readers: Readers) -> None:
    await inventory.refresh()
    readers.nvidia = Reading(found(NVIDIA))
    assert (await inventory.refresh()).devices == (NVIDIA,)
    readers.nvidia = Reading(problems=(LOST,))
    assert (await inventory.refresh()).devices == ()
    assert inventory.problems == (LOST,)


class Against:
    """A gate that speaks against one device."""

    def __init__(self, device: str, code: str) -> None:
        self._told = {device: (Reason(code, "because"),)}

    async def look(
        self, found: Sequence[DeviceReading], problems: Sequence[Reason]
    ) -> Mapping[str, tuple[Reason, ...]]:
        return self._told


async def test_a_device_is_withheld_for_all_that_speaks_against_it(readers: Readers) -> None:
    gates = (Against("GPU-1", "gpu.cordoned"), Against("GPU-1", "gpu.foreign"), Against("GPU-9", "gpu.cordoned"))
    inventory = Inventory(4, (readers.read_nvidia, readers.read_amd), gates)
    slow = replace(NVIDIA, withheld=(Reason("gpu.driver_hangs", "no answer"),))
    readers.nvidia, readers.amd = Reading(found(slow)), Reading(found(AMD))
    first, second = (await inventory.refresh()).devices
    assert [reason.code for reason in first.withheld] == ["gpu.driver_hangs", "gpu.cordoned", "gpu.foreign"]
    assert second.withheld == ()


async def test_what_containers_can_have_is_measured_and_kept_until_it_is_measured_again() -> None:
    told: list[Machine | None] = [Machine(2.5, 1 << 32, 3), None, Machine(8, 1 << 34, 8)]

    async def measure() -> Machine | None:
        return told.pop(0)

    inventory = Inventory(4, (), (), measure)
    seen = [await inventory.refresh() for _ in range(3)]
    assert [(host.cpu_slots, host.cpus, host.memory) for host in seen] == [
        (3, 2.5, 1 << 32),
        (3, 2.5, 1 << 32),
        (8, 8, 1 << 34),
    ]
    assert inventory.looks == 3


def test_a_host_has_a_slot() -> None:
    with pytest.raises(ValueError, match="at least one task slot"):
        Inventory(0, ())
