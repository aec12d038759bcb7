"""What there is to say about the host's devices, and what the operator may do about a card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ogpu_provider.control.report import cordon_document, reason_document
from ogpu_provider.control.server import Verb
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.errors import ControlError
from ogpu_provider.domain.resources import Host
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.inventory import Inventory
from ogpu_provider.scheduler.ledger import LedgerSnapshot
from ogpu_provider.scheduler.reading import DeviceReading
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.scheduler.ward import Ward

_LONGEST = 500


class DeviceDesk:
    """The daemon's answers about devices."""

    def __init__(self, inventory: Inventory, ward: Ward, scheduler: HostScheduler, clock: Clock) -> None:
        self._inventory = inventory
        self._ward = ward
        self._scheduler = scheduler
        self._clock = clock
        self.verbs: Mapping[str, Verb] = {
            "devices": self._devices,
            "devices.cordon": self._cordon,
            "devices.uncordon": self._uncordon,
        }

    async def _devices(self, _: Mapping[str, Any]) -> dict[str, Any]:
        cordons = self._ward.standing
        return devices_document(
            self._clock.now(),
            self._inventory.host,
            self._inventory.found,
            self._inventory.problems,
            cordons,
            snapshot=self._scheduler.snapshot(),
            outlooks={cordon.card: self._ward.outlook(cordon) for cordon in cordons},
        ) | {"looked": self._inventory.looks > 0}

    async def _cordon(self, args: Mapping[str, Any]) -> dict[str, Any]:
        text = str(args.get("reason") or "")[:_LONGEST] or "the operator took it out of use"
        cordon = await self._ward.cordon(_card(args), text)
        self._scheduler.observe(await self._inventory.refresh())
        return cordon_document(cordon)

    async def _uncordon(self, args: Mapping[str, Any]) -> dict[str, Any]:
        cordon = await self._ward.uncordon(_card(args))
        self._scheduler.observe(await self._inventory.refresh())
        return cordon_document(cordon) | {"lifted_at": cordon.lifted_at, "lifted_by": cordon.lifted_by}


def devices_document(
    at: float,
    host: Host,
    found: Sequence[DeviceReading],
    problems: Sequence[Reason],
    cordons: Sequence[Cordon],
    *,
    snapshot: LedgerSnapshot | None = None,
    outlooks: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """`snapshot` and `outlooks` are the daemon's: who holds what, and what cordoned cards wait for."""
    readings = {each.device.id: each for each in found}
    leases = snapshot.leases if snapshot else ()
    return {
        "at": at,
        "cpus": host.cpus or None,
        "memory_bytes": host.memory or None,
        "slots": host.cpu_slots,
        "slots_used": snapshot.slots_used if snapshot else None,
        "devices": [
            {
                "id": device.id,
                "card": device.card,
                "name": device.name,
                "environment": device.environment.label,
                "memory_bytes": device.memory_total,
                "memory_used_bytes": device.memory_used,
                "held_by": [lease.source for lease in leases if device.id in lease.devices],
                "withheld": [reason_document(reason) for reason in device.withheld],
                "gauges": asdict(readings[device.id].gauges) if device.id in readings else {},
                "processes": [asdict(process) for process in readings[device.id].processes]
                if device.id in readings
                else [],
            }
            for device in host.devices
        ],
        "missing": list(snapshot.devices_missing) if snapshot else [],
        "cordons": [
            cordon_document(cordon) | {"outlook": (outlooks or {}).get(cordon.card) or None} for cordon in cordons
        ],
        "problems": [reason_document(problem) for problem in problems],
    }


def _card(args: Mapping[str, Any]) -> str:
    """Raises ControlError (`control.bad_request`)."""
    card = args.get("card")
    if not isinstance(card, str) or not card:
        raise ControlError("the request names no card", code="control.bad_request", remedy="its id or its UUID")
    return card
