"""A scheduler in a few lines: slots are counted, devices handed out in order, verdicts are what a test says."""

from collections.abc import Collection
from dataclasses import dataclass, field

from ogpu_provider.domain.admission import Admission, Candidate
from ogpu_provider.domain.resources import Device, Host, Lease, source_holder, task_holder
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason, Verdict


@dataclass
class FakeScheduler:
    """Keeps the port's promises on `host`; refuses the tasks in `refusals`, and the expired."""

    host: Host = field(default_factory=lambda: Host(cpu_slots=4))
    refusals: dict[Address, Reason] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)

    def choose_environment(self, offered: frozenset[Environment]) -> Environment | None:
        for environment in (Environment.NVIDIA, Environment.AMD, Environment.CPU):
            if environment in offered & self.host.environments:
                return environment
        return None

    def grant_devices(
        self, source: Address, environment: Environment, count: int, images: tuple[str, ...] = ()
    ) -> tuple[Device, ...] | None:
        holder = source_holder(source)
        own = self.leases[holder].devices if holder in self.leases else ()
        others = {device for other, lease in self.leases.items() if other != holder for device in lease.devices}
        fit = [d for d in self.host.devices if d.environment is environment and d.id not in others]
        fit.sort(key=lambda device: own.index(device.id) if device.id in own else len(own))
        if len(fit) < count:
            return None
        self.leases[holder] = Lease(holder, devices=tuple(d.id for d in fit[:count]), source=source)
        return tuple(fit[:count])

    def share(self, source: Address) -> int:
        return 0

    def admit(self, candidate: Candidate) -> Admission:
        if (refusal := self.refusals.get(candidate.task)) is not None:
            return Admission(Verdict((refusal,)))
        if candidate.expiry <= candidate.now:
            return Admission(Verdict((Reason("time.expired", "expired"),)))
        holder = task_holder(candidate.task)
        if holder not in self.leases:
            if sum(lease.slots for lease in self.leases.values()) >= self.host.cpu_slots:
                return Admission(Verdict(), shortage="all slots are taken")
            self.leases[holder] = Lease(holder, slots=1, source=candidate.source)
        return Admission(Verdict(), self.leases[holder])

    def in_time(self, candidate: Candidate) -> Verdict:
        return Verdict()

    def firsts(self, sources: Collection[Address], now: float) -> list[Address]:
        return []

    def restore(self, lease: Lease) -> None:
        self.leases[lease.holder] = lease

    def release(self, holder: str) -> bool:
        return self.leases.pop(holder, None) is not None
