"""Who holds what. All or nothing, in memory: rebuilt at start from the journal's rows and the engine's labels.

A grant never takes more than there is. What is restored is counted even where it does not fit (the operator
lowered the slots, a card is gone): it is in use, and only less can be granted until it is given back.
"""

from dataclasses import dataclass

from ogpu_provider.domain.resources import Host, Lease
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


class Ledger:
    """Leases by holder over the slots and devices of one host. Not thread-safe: it lives on the event loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._leases: dict[str, Lease] = {}

    @property
    def host(self) -> Host:
        return self._host

    def resize(self, host: Host) -> None:
        """Take over a new reading of the host. Leases stay, also on devices that are gone."""
        self._host = host

    def lease(self, holder: str) -> Lease | None:
        return self._leases.get(holder)

    def taken(self, *, besides: str = "") -> frozenset[str]:
        """Device ids that are held, without those of the holder `besides`."""
        return frozenset(d for holder, lease in self._leases.items() if holder != besides for d in lease.devices)

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
                running = self._slots_of(lease.source)
                if running + more > source_limit:
                    return f"source {short(lease.source)} has {running} of {source_limit} tasks running"
        return self._devices_short(lease, has)

    def _devices_short(self, lease: Lease, has: Lease) -> str:
        wanted = set(lease.devices) - set(has.devices)
        if missing := wanted - {device.id for device in self._host.devices}:
            return f"not on this host: {', '.join(sorted(missing))}"
        if held := wanted & self.taken():
            return f"held by another source: {', '.join(sorted(held))}"
        return ""

    def _slots_of(self, source: Address) -> int:
        return sum(lease.slots for lease in self._leases.values() if lease.source == source)
