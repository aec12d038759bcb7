"""Who holds what. All or nothing, in memory: rebuilt at start from the journal's rows and the engine's labels.

A grant never takes more than there is: a device has one holder, or several whose memory fits together, with a reserve.
What is restored is counted even where it does not fit (the operator lowered the slots, a card is gone): it is in use,
and only less can be granted until it is given back.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ogpu_provider.domain.resources import Device, Host, Lease
from ogpu_provider.domain.units import Address, short


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """What there is and who holds it; `devices` are those of the host now, leases sorted by holder."""

    slots: int
    devices: tuple[str, ...]
    leases: tuple[Lease, ...]

    @property
    def slots_used(self) -> int:
        """May be more than `slots` after a restore."""
        return sum(lease.slots for lease in self.leases)

    @property
    def devices_free(self) -> tuple[str, ...]:
        held = {device for lease in self.leases for device in lease.devices}
        return tuple(device for device in self.devices if device not in held)

    @property
    def devices_missing(self) -> tuple[str, ...]:
        """Held by somebody, but no longer on the host."""
        return tuple(sorted({d for lease in self.leases for d in lease.devices} - set(self.devices)))


def room_on(device: Device, others: Iterable[Lease], reserve: int) -> int:
    """Bytes of a device for one more holder: all without others, 0 beside one that has all, negative if over-full."""
    memories = [lease.memory for lease in others]
    if not memories:
        return device.memory_total
    return 0 if 0 in memories else device.memory_total - sum(memories) - reserve


class Ledger:
    """Leases by holder over the slots and devices of one host. Not thread-safe: it lives on the event loop.

    `reserve`: bytes of a shared device that nobody is given.
    """

    def __init__(self, host: Host, reserve: int = 0) -> None:
        self._host = host
        self._reserve = reserve
        self._leases: dict[str, Lease] = {}

    @property
    def host(self) -> Host:
        return self._host

    def resize(self, host: Host) -> None:
        """Take over a new reading of the host. Leases stay, also on devices that are gone."""
        self._host = host

    def lease(self, holder: str) -> Lease | None:
        return self._leases.get(holder)

    def by_device(self, *, besides: str = "") -> dict[str, list[Lease]]:
        """Who is on each device that anybody is on, without the holder `besides`."""
        found: dict[str, list[Lease]] = {}
        for holder, lease in self._leases.items():
            if holder != besides:
                for device in lease.devices:
                    found.setdefault(device, []).append(lease)
        return found

    def grant(self, lease: Lease, *, source_limit: int | None = None) -> str:
        """Grant the lease as a whole; return "" or, having changed nothing, one sentence on what is short.

        A holder that has a lease gets this one in its place; only what it does not hold already must be free.
        `source_limit`: most slots that all tasks of `lease.source` may hold together.
        """
        shortage = self._short_of(lease, self._leases.get(lease.holder, Lease(lease.holder)), source_limit)
        if not shortage:
            self._leases[lease.holder] = lease
        return shortage

    def restore(self, lease: Lease) -> None:
        """Count what is in use already, whether or not it fits."""
        self._leases[lease.holder] = lease

    def release(self, holder: str) -> bool:
        """Give back; False, and no change, if nothing was held."""
        return self._leases.pop(holder, None) is not None

    def snapshot(self) -> LedgerSnapshot:
        leases = tuple(lease for _, lease in sorted(self._leases.items()))
        return LedgerSnapshot(self._host.cpu_slots, tuple(d.id for d in self._host.devices), leases)

    def _short_of(self, lease: Lease, has: Lease, source_limit: int | None) -> str:
        more = lease.slots - has.slots
        if more > 0:
            used = sum(other.slots for other in self._leases.values())
            if used + more > self._host.cpu_slots:
                return f"{used} of {self._host.cpu_slots} task slots of this host are taken"
            if lease.source is not None and source_limit is not None:
                running = self._slots_of(lease.source, besides=lease.holder)
                if running + lease.slots > source_limit:
                    return f"source {short(lease.source)} has {running} of {source_limit} tasks running"
        return self._devices_short(lease, has)

    def _devices_short(self, lease: Lease, has: Lease) -> str:
        wanted = set(lease.devices) - set(has.devices)
        devices = {device.id: device for device in self._host.devices}
        if missing := wanted - devices.keys():
            return f"not on this host: {', '.join(sorted(missing))}"
        if has.memory and (lease.memory == 0 or lease.memory > has.memory):
            wanted |= devices.keys() & set(lease.devices)
        if not wanted:
            return ""
        on = self.by_device(besides=lease.holder)
        for name in sorted(wanted & on.keys()):
            room = room_on(devices[name], on[name], self._reserve)
            if lease.memory == 0 or room < lease.memory:
                shared = f", with {room >> 20} MiB for one more" if room > 0 else ""
                return f"held by another source: {name}{shared}"
        return ""

    def _slots_of(self, source: Address, *, besides: str) -> int:
        return sum(
            lease.slots for holder, lease in self._leases.items() if lease.source == source and holder != besides
        )
