"""The Scheduler port for one host."""

from collections.abc import Callable

from ogpu_provider.domain.admission import Admission, Candidate
from ogpu_provider.domain.resources import Device, Host, Lease, source_holder, task_holder
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Verdict
from ogpu_provider.scheduler import placement
from ogpu_provider.scheduler.admission import admit
from ogpu_provider.scheduler.circumstances import Circumstances
from ogpu_provider.scheduler.ledger import Ledger, LedgerSnapshot
from ogpu_provider.scheduler.rules import AdmissionPolicy, judge


class HostScheduler:
    """Decides for one host; `host` is its last reading, given by `observe`. No I/O, no clock.

    `assess` tells what is known besides the task; without it nothing is.
    """

    def __init__(
        self, host: Host, policy: AdmissionPolicy, assess: Callable[[Candidate], Circumstances] | None = None
    ) -> None:
        self._policy = policy
        self._assess = assess or (lambda _: Circumstances())
        self._ledger = Ledger(host)

    @property
    def host(self) -> Host:
        return self._ledger.host

    def observe(self, host: Host) -> None:
        """Take over a new reading: devices that came can be granted, leases on those that went are still counted."""
        self._ledger.resize(host)

    def choose_environment(self, offered: frozenset[Environment]) -> Environment | None:
        return placement.choose_environment(offered, self.host)

    def grant_devices(self, source: Address, environment: Environment, count: int) -> tuple[Device, ...] | None:
        """Lease `count` devices to a source's project, all or nothing; None leaves what it holds as it was.

        The same ones again if it holds them. A device that has gone is replaced, more are added to those it has.
        """
        holder = source_holder(source)
        held = self._ledger.lease(holder)
        devices = placement.choose_devices(
            self.host,
            environment,
            count,
            taken=self._ledger.taken(besides=holder),
            keep=held.devices if held else (),
        )
        if devices is None:
            return None
        lease = Lease(holder, devices=tuple(device.id for device in devices), source=source)
        return None if self._ledger.grant(lease) else devices

    def judge(self, candidate: Candidate) -> Verdict:
        """The rules alone, taking nothing: for `why` and `simulate`."""
        return judge(candidate, self._policy, self._assess(candidate))

    def withheld(self, source: Address) -> str:
        """Why a source's devices take no new work now; empty if they do."""
        lease = self._ledger.lease(source_holder(source))
        held = lease.devices if lease else ()
        reasons = [f"{d.id}: {reason.text}" for d in self.host.devices if d.id in held for reason in d.withheld]
        return "; ".join(reasons)

    def admit(self, candidate: Candidate) -> Admission:
        """A new task waits while a device of its source is withheld; what was admitted goes on."""
        known = self._ledger.lease(task_holder(candidate.task))
        if known is None and (why := self.withheld(candidate.source)):
            return Admission(self.judge(candidate), shortage=why)
        return admit(candidate, self._policy, self._ledger, self._assess(candidate))

    def restore(self, lease: Lease) -> None:
        self._ledger.restore(lease)

    def release(self, holder: str) -> bool:
        return self._ledger.release(holder)

    def snapshot(self) -> LedgerSnapshot:
        """Capacity and leases as of now: for `status` and `why-idle`."""
        return self._ledger.snapshot()
