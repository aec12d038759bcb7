"""The Scheduler port for one host."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ogpu_provider.domain.admission import Admission, Candidate
from ogpu_provider.domain.resources import Device, Host, Lease, source_holder, task_holder
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Ruling, Verdict, verdict
from ogpu_provider.scheduler import placement
from ogpu_provider.scheduler.admission import admit
from ogpu_provider.scheduler.circumstances import Circumstances
from ogpu_provider.scheduler.ledger import Ledger, LedgerSnapshot, room_on
from ogpu_provider.scheduler.line import Line, LinePolicy
from ogpu_provider.scheduler.rules import AdmissionPolicy, judge, not_expired, time_enough
from ogpu_provider.scheduler.sharing import Sharing
from ogpu_provider.scheduler.strangers import FOREIGN
from ogpu_provider.scheduler.ward import CORDONED


class HostScheduler:
    """Decides for one host; `host` is its last reading, given by `observe`. No I/O, no clock.

    `assess` tells what is known besides the task; without it nothing is. `sharing`: by which peaks sources may be put
    on one device; None: they may not. `line`: who waits for room, and whose turn it is; None: nobody keeps count.
    `outbid` is told of a task that lost its place there: it is to look again.
    """

    def __init__(
        self,
        host: Host,
        policy: AdmissionPolicy,
        assess: Callable[[Candidate], Circumstances] | None = None,
        sharing: Sharing | None = None,
        line: LinePolicy | None = None,
    ) -> None:
        self._policy = policy
        self._assess = assess or (lambda _: Circumstances())
        self._sharing = sharing
        self._ledger = Ledger(host, sharing.reserve if sharing else 0)
        self._line = Line(line) if line else None
        self._outbid: set[Address] = set()
        self.outbid: Callable[[Address], None] = lambda _task: None
        self._images: dict[Address, tuple[str, ...]] = {}

    @property
    def host(self) -> Host:
        return self._ledger.host

    def observe(self, host: Host) -> None:
        """Take over a new reading: devices that came can be granted, leases on those that went are still counted."""
        self._ledger.resize(host)

    def choose_environment(self, offered: frozenset[Environment]) -> Environment | None:
        return placement.choose_environment(offered, self.host)

    def grant_devices(
        self, source: Address, environment: Environment, count: int, images: tuple[str, ...] = ()
    ) -> tuple[Device, ...] | None:
        """Lease `count` devices to a source's project, all or nothing; None leaves what it holds as it was.

        The same ones again if it holds them. A device that has gone is replaced, more are added to those it has.
        `images`: digests of what will use a device. A source that takes one device may be put beside others.
        """
        holder = source_holder(source)
        held = self._ledger.lease(holder)
        same = self._images.get(source, images) == images
        self._images[source] = images
        others = self._ledger.by_device(besides=holder)
        beside = {d.id for d in self.host.devices if d.id in others and count == 1 and self._fits(source, d, others)}
        if held and held.memory and count == 1 and same and self._sharing:
            beside |= others.keys() & set(held.devices)  # what runs stays, also where it was seen to need more
        devices = placement.choose_devices(
            self.host,
            environment,
            count,
            taken=others.keys() - beside,
            keep=self._kept(held) if held else (),
            shared={device: sum(lease.memory for lease in others[device]) for device in beside},
        )
        if devices is None:
            return None
        memory = self._need(source, devices[0]) if count == 1 else 0
        lease = Lease(holder, devices=tuple(device.id for device in devices), source=source, memory=memory)
        if held and held.devices == lease.devices and self._ledger.grant(lease):
            return devices
        return None if self._ledger.grant(lease) else devices

    def lease(self, source: Address) -> Lease | None:
        """What a source's project holds."""
        return self._ledger.lease(source_holder(source))

    def images(self, source: Address) -> tuple[str, ...]:
        """Digests of what uses its devices, as of the last grant."""
        return self._images.get(source, ())

    def share(self, source: Address) -> int:
        """Bytes of its device that a source holds; 0: all of it. From now on as much as it is known to need, if others
        may be put beside it; what it had where that does not fit any more.
        """
        lease = self._ledger.lease(source_holder(source))
        device = next((d for d in self.host.devices if lease and lease.devices == (d.id,)), None)
        if lease is None or device is None:
            return lease.memory if lease else 0
        if need := self._need(source, device):
            self._ledger.grant(replace(lease, memory=need))
        return (self._ledger.lease(lease.holder) or lease).memory

    def _need(self, source: Address | None, device: Device) -> int:
        """Bytes of a device; 0: all of it, or not known."""
        images = self._images.get(source, ()) if source else ()
        return self._sharing.need(images, device.name) if self._sharing else 0

    def _fits(self, source: Address, device: Device, others: Mapping[str, Sequence[Lease]]) -> bool:
        """By what the others were granted, or are known to need by now if that is more."""
        need, reserve = self._need(source, device), self._sharing.reserve if self._sharing else 0
        beside = [each if not each.memory else self._measured(each, device) for each in others[device.id]]
        return 0 < need <= room_on(device, beside, reserve)

    def _measured(self, lease: Lease, device: Device) -> Lease:
        return replace(lease, memory=max(lease.memory, self._need(lease.source, device)))

    def judge(self, candidate: Candidate) -> Verdict:
        """The rules alone, taking nothing: for `why` and `simulate`."""
        return judge(candidate, self._policy, self._assess(candidate))

    def in_time(self, candidate: Candidate) -> Verdict:
        """The rules about time alone, taking nothing."""
        now = self._assess(candidate)
        found = (rule(candidate, self._policy, now) for rule in (not_expired, time_enough))
        return verdict(tuple(ruling for ruling in found if ruling is not None))

    def withheld(self, source: Address) -> str:
        """Why a source's devices take no new work now; empty if they do."""
        lease = self._ledger.lease(source_holder(source))
        held = lease.devices if lease else ()
        reasons = [f"{d.id}: {reason.text}" for d in self.host.devices if d.id in held for reason in d.withheld]
        present = {device.id for device in self.host.devices}
        reasons += [f"{device}: it is not on this host any more" for device in held if device not in present]
        return "; ".join(reasons)

    def movable(self) -> list[Address]:
        """Sources that have nothing at work, sit on devices which are out of use, and could have others."""
        leases = self._ledger.snapshot().leases
        return [each.source for each in leases if each.source and each.devices and self._kept(each) != each.devices]

    def _kept(self, lease: Lease) -> tuple[str, ...]:
        """Of a source's devices those that it stays on: all, unless it may move away from some."""
        leases = self._ledger.snapshot().leases
        if any(each.source == lease.source and each.slots for each in leases):
            return lease.devices
        devices = {device.id: device for device in self.host.devices}
        stays = tuple(name for name in lease.devices if name in devices and not out_of_use(devices[name]))
        taken = {device for each in leases for device in each.devices}
        kinds = {devices[name].environment for name in lease.devices if name in devices}
        free = [
            device
            for device in self.host.devices
            if device.id not in taken and not device.withheld and (device.environment in kinds or not kinds)
        ]
        return stays if len(free) >= len(lease.devices) - len(stays) else lease.devices

    def admit(self, candidate: Candidate) -> Admission:
        """A new task waits while a device of its source is withheld, and behind one that has waited for too long; what
        was admitted goes on.
        """
        now, why = self._assess(candidate), ""
        if self._ledger.lease(task_holder(candidate.task)) is None:
            why = self.withheld(candidate.source) or self._passed(candidate)
        if why:
            return self._line_up(candidate, now, Admission(judge(candidate, self._policy, now), shortage=why))
        return self._line_up(candidate, now, admit(candidate, self._policy, self._ledger, now))

    def _passed(self, candidate: Candidate) -> str:
        first = self._line.patient(candidate.source, candidate.task, candidate.now) if self._line else None
        return f"task {first.task} of its source has waited for longer" if first else ""

    def _line_up(self, candidate: Candidate, now: Circumstances, admission: Admission) -> Admission:
        """A task that waits for room, or is refused because too many do that are worth more."""
        if self._line is None:
            return admission
        outbid, task = candidate.task in self._outbid, candidate.task
        self._outbid.discard(task)
        if admission.lease is not None or not admission.verdict.accepted:
            self._line.leave(task)
            return admission
        gone = task if outbid else self._line.join(candidate, now)
        if gone == task:
            limit = self._line.policy.limit
            text = f"{limit} tasks wait for room, all worth more a second than this one: {admission.shortage}"
            ruling = Ruling("capacity.line", False, text, f"admission.line = {limit + 1}")
            return Admission(verdict((*admission.verdict.rulings, ruling)))
        if gone is not None:
            self._outbid.add(gone)
            self.outbid(gone)
        return admission

    def firsts(self, sources: Iterable[Address], now: float) -> list[Address]:
        """Of each of these sources the waiting task whose turn is first; the first of all of them first."""
        return [waiting.task for waiting in self._line.firsts(sources, now)] if self._line else []

    def restore(self, lease: Lease) -> None:
        self._ledger.restore(lease)

    def release(self, holder: str) -> bool:
        task = Address(holder.removeprefix("task:"))
        if self._line is not None:
            self._line.leave(task)
            self._outbid.discard(task)
        return self._ledger.release(holder)

    def snapshot(self) -> LedgerSnapshot:
        """Capacity and leases as of now: for `status` and `why-idle`."""
        return self._ledger.snapshot()


def out_of_use(device: Device) -> bool:
    """Whether it is worth moving away from: a driver that is silent for a moment is not."""
    return any(reason.code in (CORDONED, FOREIGN) for reason in device.withheld)
