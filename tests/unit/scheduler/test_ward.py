"""Cordoned cards: what happens to them, what gives them back, and what a restart remembers."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.health import HealthPolicy
from ogpu_provider.scheduler.reading import DeviceReading, Gauges
from ogpu_provider.scheduler.ward import CardUnknown, Ward
from ogpu_provider.store.memory import MemoryStore
from tests.fakes.clock import FakeClock
from tests.fakes.runtime import FakeRuntime

CARD = Device("GPU-1", Environment.NVIDIA, "RTX 4090", 1 << 34)
OTHER = replace(CARD, id="GPU-2")
XID = DeviceReading(CARD, xids=(79,))
WELL = (DeviceReading(CARD), DeviceReading(OTHER))
LOST = Reason("gpu.lost", "NVIDIA GPU 0 is left out")
BROKEN = EngineError("it does not answer", code="engine.device_failed")


@dataclass
class Clinic:
    """A ward over a journal that outlives it."""

    policy: HealthPolicy = field(default_factory=HealthPolicy)
    clock: FakeClock = field(default_factory=FakeClock)
    journal: MemoryStore = field(default_factory=MemoryStore)
    runtime: FakeRuntime = field(default_factory=FakeRuntime)
    alerts: list[int] = field(default_factory=list)

    async def open(self) -> Ward:
        """Also what a restart makes of it."""

        def changed() -> None:
            self.alerts.append(len(ward.standing))

        ward = Ward(self.journal, self.policy, self.clock, self.runtime.test, changed)
        await ward.restore()
        return ward


async def withheld(ward: Ward, found: Sequence[DeviceReading] = WELL, *problems: Reason) -> dict[str, str]:
    told = await ward.look(found, problems)
    return {device: reason.text for device, (reason,) in told.items()}


async def test_an_ill_card_is_cordoned_and_no_other() -> None:
    clinic = Clinic()
    ward = await clinic.open()
    assert await withheld(ward, [XID, DeviceReading(OTHER)]) == {
        "GPU-1": "cordoned for gpu.xid: Xid 79 (fallen off the bus)"
    }
    assert await withheld(ward) == {"GPU-1": "cordoned for gpu.xid: Xid 79 (fallen off the bus)"}
    assert [cordon.card for cordon in await clinic.journal.cordons()] == ["GPU-1"]
    assert clinic.alerts == [1]


async def test_all_instances_of_a_card_are_withheld_with_it() -> None:
    ward = await Clinic().open()
    parts = [DeviceReading(replace(CARD, id=f"MIG-{n}", part_of="GPU-9"), xids=(48,)) for n in (1, 2)]
    assert set(await withheld(ward, parts)) == {"MIG-1", "MIG-2"}
    assert [cordon.card for cordon in ward.standing] == ["GPU-9"]


async def test_a_test_that_passes_gives_the_card_back() -> None:
    clinic = Clinic()
    ward = await clinic.open()
    await withheld(ward, [XID, DeviceReading(OTHER)])
    await ward.retest()
    assert clinic.runtime.tested == []  # not yet
    await clinic.clock.leap(600)
    await ward.retest()
    assert clinic.runtime.tested == ["GPU-1"]
    assert await withheld(ward) == {}
    (lifted,) = await clinic.journal.cordons(lifted=True)
    assert (lifted.lifted_at, lifted.lifted_by) == (clinic.clock.now(), "test")
    assert clinic.alerts == [1, 0]


async def test_the_service_does_so_by_itself() -> None:
    import asyncio

    clinic = Clinic()
    ward = await clinic.open()
    await withheld(ward, [XID])
    service = asyncio.create_task(ward.run())
    await clinic.clock.advance(700)
    assert ward.standing == ()
    service.cancel()


async def test_a_test_that_fails_is_repeated_after_a_while() -> None:
    clinic = Clinic()
    clinic.runtime.broken["GPU-1"] = BROKEN
    ward = await clinic.open()
    await withheld(ward, [XID])
    for _ in range(3):
        await clinic.clock.leap(600)
        await ward.retest()
        await ward.retest()
    assert clinic.runtime.tested == ["GPU-1"] * 3
    (cordon,) = ward.standing
    assert ward.outlook(cordon) == "the last test failed: it does not answer; tested again in 600 s"
    clinic.runtime.broken.clear()
    await clinic.clock.leap(600)
    await ward.retest()
    assert ward.standing == ()


async def test_every_instance_of_a_card_must_pass() -> None:
    clinic = Clinic()
    clinic.runtime.broken["MIG-2"] = BROKEN
    ward = await clinic.open()
    await withheld(ward, [DeviceReading(replace(CARD, id=f"MIG-{n}", part_of="GPU-9"), xids=(48,)) for n in (1, 2)])
    await clinic.clock.leap(600)
    await ward.retest()
    assert clinic.runtime.tested == ["MIG-1", "MIG-2"]
    assert len(ward.standing) == 1


async def test_an_error_on_a_cordoned_card_puts_its_test_off() -> None:
    clinic = Clinic()
    ward = await clinic.open()
    await withheld(ward, [XID])
    await clinic.clock.leap(590)
    await withheld(ward, [XID])
    await clinic.clock.leap(20)
    await ward.retest()
    assert clinic.runtime.tested == []
    await clinic.clock.leap(580)
    await ward.retest()
    assert clinic.runtime.tested == ["GPU-1"]


async def test_a_lost_card_is_tested_only_when_it_is_there_again() -> None:
    clinic = Clinic()
    ward = await clinic.open()
    await withheld(ward)
    assert await withheld(ward, [DeviceReading(OTHER)], LOST) == {}
    (cordon,) = ward.standing
    assert (cordon.card, cordon.reason) == ("GPU-1", LOST)
    await clinic.clock.leap(6000)
    await ward.retest()
    assert clinic.runtime.tested == []
    assert await withheld(ward) == {"GPU-1": f"cordoned for gpu.lost: {LOST.text}"}  # back, but not trusted yet
    await ward.retest()
    assert await withheld(ward) == {}


async def test_what_lasts_must_end_before_a_test() -> None:
    clinic = Clinic(HealthPolicy(hold=60))
    ward = await clinic.open()
    hot = [DeviceReading(CARD, Gauges(temperature=95, temperature_slowdown=90))]
    await withheld(ward, hot)
    await clinic.clock.leap(60)
    assert list(await withheld(ward, hot)) == ["GPU-1"]
    await clinic.clock.leap(6000)
    await withheld(ward, hot)
    await ward.retest()
    assert clinic.runtime.tested == []
    assert ward.outlook(ward.standing[0]) == "lasts: 95 °C; the limit is 90 °C"
    await withheld(ward)
    await ward.retest()
    assert ward.standing == ()


async def test_a_card_that_comes_back_too_often_waits_for_the_operator() -> None:
    clinic = Clinic(HealthPolicy(returns=2))
    ward = await clinic.open()
    for _ in range(3):
        await withheld(ward, [XID])
        await clinic.clock.leap(600)
        await ward.retest()
    assert clinic.runtime.tested == ["GPU-1"] * 2
    (cordon,) = ward.standing
    assert ward.outlook(cordon) == "came back 2 times within a day: waits for `devices uncordon`"
    ward = await clinic.open()  # remembered
    await withheld(ward)
    await ward.retest()
    assert len(ward.standing) == 1
    await ward.uncordon("GPU-1")
    assert await withheld(ward) == {}


async def test_a_restart_lifts_no_cordon() -> None:
    clinic = Clinic()
    await withheld(await clinic.open(), [XID])
    ward = await clinic.open()
    assert list(await withheld(ward)) == ["GPU-1"]
    assert len(await clinic.journal.cordons(lifted=True)) == 1


async def test_memory_errors_that_were_tested_away_do_not_cordon_again_after_a_restart() -> None:
    clinic = Clinic()
    ward = await clinic.open()
    errors = [DeviceReading(CARD, Gauges(ecc_uncorrected=4))]
    assert list(await withheld(ward, errors)) == ["GPU-1"]
    await clinic.clock.leap(600)
    await ward.retest()
    for each in (ward, await clinic.open()):
        assert await withheld(each, errors) == {}
    assert list(await withheld(ward, [DeviceReading(CARD, Gauges(ecc_uncorrected=5))])) == ["GPU-1"]


async def test_the_operator_takes_a_card_as_it_is_also_after_a_restart() -> None:
    clinic = Clinic(HealthPolicy(hold=0.001))
    ward = await clinic.open()
    narrow = [DeviceReading(CARD, Gauges(pcie_width=8, pcie_width_max=16))]
    await withheld(ward, narrow)
    await clinic.clock.leap(1)
    assert list(await withheld(ward, narrow)) == ["GPU-1"]
    lifted = await ward.uncordon("GPU-1")
    assert lifted.lifted_by == "operator"
    for each in (ward, await clinic.open()):
        for _ in range(3):
            assert await withheld(each, narrow) == {}
            await clinic.clock.leap(1)


async def test_what_the_operator_cordoned_no_test_gives_back() -> None:
    clinic = Clinic()
    ward = await clinic.open()
    await withheld(ward)
    cordon = await ward.cordon("GPU-2", "its fan is noisy")
    assert await withheld(ward) == {"GPU-2": "cordoned for gpu.operator: its fan is noisy"}
    assert await ward.cordon("GPU-2", "again") == cordon
    await clinic.clock.leap(6000)
    await ward.retest()
    assert clinic.runtime.tested == []
    assert ward.outlook(cordon) == "waits for `devices uncordon`"
    await ward.uncordon("GPU-2")
    assert await withheld(ward) == {}


async def test_the_id_of_an_instance_stands_for_its_card() -> None:
    ward = await Clinic().open()
    parts = [DeviceReading(replace(CARD, id=f"MIG-{n}", part_of="GPU-9")) for n in (1, 2)]
    await withheld(ward, parts)
    assert (await ward.cordon("MIG-2", "dusty")).card == "GPU-9"
    assert set(await withheld(ward, parts)) == {"MIG-1", "MIG-2"}
    await ward.uncordon("MIG-1")
    assert await withheld(ward, parts) == {}


async def test_cards_that_nobody_knows() -> None:
    ward = await Clinic().open()
    with pytest.raises(CardUnknown) as unknown:
        await ward.cordon("GPU-7", "")
    assert unknown.value.code == "device.unknown"
    with pytest.raises(CardUnknown) as free:
        await ward.uncordon("GPU-7")
    assert free.value.code == "device.not_cordoned"


async def test_a_cordon_set_while_a_test_runs_is_not_lifted_by_it() -> None:
    """The operator lifts it and another error sets it anew: the old test says nothing of that."""
    clinic = Clinic()
    ward = await clinic.open()
    await withheld(ward, [XID])

    async def meanwhile(device: Device) -> None:
        await ward.uncordon(device.id)
        await withheld(ward, [XID])

    ward._test = meanwhile
    await clinic.clock.leap(600)
    await ward.retest()
    assert [cordon.at for cordon in ward.standing] == [clinic.clock.now()]
    kept = await clinic.journal.cordons(lifted=True)
    assert [(cordon.card, cordon.lifted_by) for cordon in kept] == [("GPU-1", "operator"), ("GPU-1", "")]
    assert isinstance(kept[0], Cordon)
