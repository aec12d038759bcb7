"""Do the leases agree with what runs? Looked at with each reading of the host; what does not agree is put right.

a lease, nothing runs under it                    given back after a grace
something of ours runs, and nobody holds a lease  it gets one at the second look: what is in use is counted
it runs on other devices than its lease says      likewise, the lease follows the labels of its containers
two run on a device that one has alone            told, and left: stopping either is nobody's right here
a task holds its slot by the journal, not here    it gets it
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.project import Occupancy, RunningProject
from ogpu_provider.domain.resources import Lease, source_holder
from ogpu_provider.domain.units import Address
from ogpu_provider.scheduler.ledger import LedgerSnapshot

log = structlog.get_logger()
GRACE_S = 120.0


class Leases(Protocol):
    """The scheduler's part about leases."""

    def snapshot(self) -> LedgerSnapshot: ...

    def restore(self, lease: Lease) -> None: ...

    def release(self, holder: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Correction:
    """`code`: lease.released, lease.restored, lease.moved, or device.contested, which changes nothing."""

    code: str
    holder: str
    text: str
    source: Address | None = None


class Stocktaking:
    """`grace`: seconds for which a lease may be without its container or task, as it is while one comes or goes."""

    def __init__(self, leases: Leases, clock: Clock, *, grace: float = GRACE_S) -> None:
        self._leases = leases
        self._clock = clock
        self._grace = grace
        self._idle_since: dict[str, float] = {}
        self._odd: frozenset[str] = frozenset()
        self._contested: frozenset[str] = frozenset()

    def check(self, occupancy: Occupancy, tasks: Iterable[Lease]) -> list[Correction]:
        """`tasks`: the leases that live tasks have by the journal. Returns what was put right, or cannot be."""
        held = {lease.holder: lease for lease in self._leases.snapshot().leases}
        running = {source_holder(project.source): project for project in occupancy.running}
        owed = {lease.holder: lease for lease in tasks}
        changing = {source_holder(source) for source in occupancy.changing}
        steady = {holder: project for holder, project in running.items() if holder not in changing}
        odd = {holder for holder, project in steady.items() if not _agrees(held.get(holder), project)}
        made = [
            *self._unheld(held, {holder: steady[holder] for holder in sorted(odd & self._odd)}),
            *self._uncounted(held, owed),
            *self._idle(held, running.keys() | owed.keys() | changing),
            *self._contests(),
        ]
        self._odd = frozenset(odd)
        for each in made:
            log.warning("lease_corrected", code=each.code, holder=each.holder, text=each.text)
        return made

    def _unheld(self, held: Mapping[str, Lease], odd: Mapping[str, RunningProject]) -> list[Correction]:
        made = []
        for holder, project in odd.items():
            lease = held.get(holder)
            on = f"its containers run on {_listed(project.devices)}"
            if lease is None:
                self._leases.restore(Lease(holder, 0, project.devices, project.source))
                made.append(Correction("lease.restored", holder, f"{on}, and it had no lease", project.source))
            else:
                self._leases.restore(replace(lease, devices=project.devices))
                text = f"{on}, and it had a lease of {_listed(lease.devices)}"
                made.append(Correction("lease.moved", holder, text, project.source))
        return made

    def _uncounted(self, held: Mapping[str, Lease], owed: Mapping[str, Lease]) -> list[Correction]:
        made = []
        for holder in sorted(owed.keys() - held.keys()):
            self._leases.restore(owed[holder])
            text = f"it is at work, and its {owed[holder].slots} slots were not counted"
            made.append(Correction("lease.restored", holder, text, owed[holder].source))
        return made

    def _idle(self, held: Mapping[str, Lease], busy: set[str]) -> list[Correction]:
        now, made = self._clock.monotonic(), []
        idle = held.keys() - busy
        self._idle_since = {holder: self._idle_since.get(holder, now) for holder in idle}
        for holder in sorted(idle):
            if now - self._idle_since[holder] >= self._grace:
                del self._idle_since[holder]
                self._leases.release(holder)
                text = f"nothing has run under it for {self._grace:g} s"
                made.append(Correction("lease.released", holder, text, held[holder].source))
        return made

    def _contests(self) -> list[Correction]:
        """Told once while it lasts."""
        leases = self._leases.snapshot().leases
        holders: dict[str, list[Lease]] = {}
        for lease in leases:
            for device in lease.devices:
                holders.setdefault(device, []).append(lease)
        several = {device: found for device, found in holders.items() if len(found) > 1}
        contested = {device: found for device, found in several.items() if any(not one.memory for one in found)}
        new = contested.keys() - self._contested
        self._contested = frozenset(contested)
        return [
            Correction(
                "device.contested",
                contested[device][0].holder,
                f"{device} is held by {_listed(_names(contested[device]))}",
            )
            for device in sorted(new)
        ]


def _agrees(lease: Lease | None, project: RunningProject) -> bool:
    return lease is not None and set(lease.devices) == set(project.devices)


def _names(leases: Iterable[Lease]) -> list[str]:
    return [lease.holder for lease in leases]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "no device"
