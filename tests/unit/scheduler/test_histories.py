"""Random lives of one host, with kills in the middle of what it does: who holds what is always accounted for.

A kill forgets the scheduler. What is left is the journal (rows of tasks and sources), the containers with the devices
in their labels, and what was learnt; the next scheduler is restored from these, in the way of the source keeper.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from ogpu_provider.domain.learnt import Fact, Key, Knowledge
from ogpu_provider.domain.resources import Device, Host, Lease, source_holder, task_holder
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.ledger import LedgerSnapshot
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.scheduler.sharing import Sharing
from tests.fakes.candidates import wanting
from tests.sizes import size

GIB = 1 << 30
RESERVE = GIB
SLOTS = 3
CARDS = tuple(Device(f"g{n}", Environment.NVIDIA, f"card {n % 2}", (8 + 8 * n) * GIB) for n in range(3))
SOURCES = tuple(Address(f"0x{n:040x}") for n in range(1, 6))
IMAGES = {source: (f"sha256:{n}", f"sha256:{n % 2}")[: 1 + n % 2] for n, source in enumerate(SOURCES)}
STEPS = 25


@dataclass
class World:
    """One host's life. A step is a generator that stops wherever the process may die."""

    chance: random.Random
    sharing: bool
    knowledge: Knowledge = field(default_factory=Knowledge)
    cards: tuple[Device, ...] = CARDS
    tasks: dict[Address, tuple[Address, int]] = field(default_factory=dict)
    rows: dict[Address, tuple[tuple[str, ...], int]] = field(default_factory=dict)
    containers: dict[Address, tuple[str, ...]] = field(default_factory=dict)
    published: int = 0

    def __post_init__(self) -> None:
        for image in range(5):
            for card in range(2):
                if self.chance.random() < 0.8:
                    key = Key(Fact.PEAK_MEMORY, f"sha256:{image}", f"card {card}")
                    self.knowledge.add(key, self.chance.randint(1, 5 * GIB), at=0)
        self.scheduler = self._new()

    def _new(self) -> HostScheduler:
        sharing = Sharing(self.knowledge, RESERVE) if self.sharing else None
        return HostScheduler(Host(SLOTS, self.cards), AdmissionPolicy(), sharing=sharing)

    @property
    def leases(self) -> dict[str, Lease]:
        return {lease.holder: lease for lease in self.scheduler.snapshot().leases}

    def bring_up(self) -> Iterator[None]:
        source, count = self.chance.choice(SOURCES), self.chance.choice((1, 1, 1, 2))
        before = self.scheduler.snapshot()
        devices = self.scheduler.grant_devices(source, Environment.NVIDIA, count, IMAGES[source])
        if devices is None:
            assert self.scheduler.snapshot() == before, "nothing was granted, so nothing has changed"
            return
        assert len(set(devices)) == count
        ids = tuple(device.id for device in devices)
        self._granted(source, before)
        yield
        self.rows[source] = (ids, self.leases[source_holder(source)].memory)
        yield
        if self.containers.get(source) != ids:
            self.containers.pop(source, None)
            yield
            self.containers[source] = ids

    def _granted(self, source: Address, before: LedgerSnapshot) -> None:
        """What a source has now and had not before is there for it, beside everybody else."""
        holder = source_holder(source)
        had = next((lease for lease in before.leases if lease.holder == holder), Lease(holder))
        has = self.leases[holder]
        new = set(has.devices) - set(had.devices)
        if had.memory and (has.memory == 0 or has.memory > had.memory):
            new = set(has.devices)
        for device in self.cards:
            if device.id in new:
                assert self._sound(device), "granted together with what does not leave room for it"

    def _sound(self, device: Device) -> bool:
        memories = [lease.memory for lease in self.leases.values() if device.id in lease.devices]
        if len(memories) < 2:
            return True
        return self.sharing and 0 not in memories and sum(memories) + RESERVE <= device.memory_total

    def narrow(self) -> Iterator[None]:
        if running := sorted(self.containers):
            source = self.chance.choice(running)
            before = self.scheduler.snapshot()
            memory = self.scheduler.share(source)
            self._granted(source, before)
            yield
            self.rows[source] = (self.containers[source], memory)

    def take_down(self) -> Iterator[None]:
        if running := sorted(self.containers):
            source = self.chance.choice(running)
            del self.containers[source]
            yield
            assert self.scheduler.release(source_holder(source))

    def run_task(self) -> Iterator[None]:
        self.published += 1
        candidate = wanting(self.published, self.chance.choice(SOURCES))
        before = self.scheduler.snapshot()
        admission = self.scheduler.admit(candidate)
        assert admission.verdict.accepted
        if admission.lease is None:
            assert admission.shortage
            assert self.scheduler.snapshot() == before
            return
        assert self.scheduler.snapshot().slots_used <= SLOTS
        yield
        self.tasks[candidate.task] = (candidate.source, admission.lease.slots)

    def end_task(self) -> Iterator[None]:
        if self.tasks:
            task = self.chance.choice(sorted(self.tasks))
            del self.tasks[task]
            yield
            assert self.scheduler.release(task_holder(task))

    def learn(self) -> Iterator[None]:
        image, card = f"sha256:{self.chance.randrange(5)}", f"card {self.chance.randrange(2)}"
        self.knowledge.add(Key(Fact.PEAK_MEMORY, image, card), self.chance.randint(1, 6 * GIB), at=0)
        yield

    def change_host(self) -> Iterator[None]:
        """Cards go and come back, or are withheld for a while."""
        silent = (Reason("gpu.driver_hangs", "silent"),)
        seen = [card for card in CARDS if self.chance.random() < 0.8]
        self.cards = tuple(replace(card, withheld=silent) if self.chance.random() < 0.2 else card for card in seen)
        self.scheduler.observe(Host(SLOTS, self.cards))
        yield

    def kill(self) -> None:
        self.scheduler = self._new()
        for source, devices in self.containers.items():
            row_devices, memory = self.rows.get(source, ((), 0))
            memory = memory if row_devices == devices else 0
            self.scheduler.restore(Lease(source_holder(source), 0, devices, source, memory))
        for task, (source, slots) in self.tasks.items():
            self.scheduler.restore(Lease(task_holder(task), slots, (), source))

    def holders(self) -> set[str]:
        return {source_holder(s) for s in self.containers} | {task_holder(t) for t in self.tasks}


def live(seed: int) -> None:
    chance = random.Random(seed)
    world = World(chance, sharing=chance.random() < 0.8)
    steps = [world.bring_up] * 4 + [world.run_task, world.end_task] * 2
    steps += [world.take_down, world.narrow, world.learn, world.learn, world.change_host]
    torn = False
    for _ in range(STEPS):
        died = False
        for _point in chance.choice(steps)():
            if died := chance.random() < 0.05:
                break
        before = world.scheduler.snapshot()
        if died or chance.random() < 0.08:
            world.kill()
            torn = torn or died
            assert died or world.scheduler.snapshot() == before, "restored leases equal the live ones"
        after = world.scheduler.snapshot()
        assert {lease.holder for lease in after.leases} == world.holders(), "no lease without a holder, and none lost"
        assert after.slots_used <= SLOTS
        if not torn:  # a kill between two projects of a source leaves the old one's devices with it, and counts them
            assert all(world._sound(card) for card in world.cards)


@pytest.mark.parametrize("lane", range(4))
def test_a_host_is_never_oversubscribed_whatever_happens_to_it(lane: int) -> None:
    for seed in range(lane, size("lease histories"), 4):
        try:
            live(seed)
        except AssertionError as error:
            raise AssertionError(f"history {seed}") from error
