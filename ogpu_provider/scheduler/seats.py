"""Sources on a host, in a replay: who has devices, how many tasks at once, and whose devices change hands. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.history import PastTask
from ogpu_provider.domain.resources import source_holder
from ogpu_provider.domain.source import Environment, SourceParams
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Ruling
from ogpu_provider.scheduler import requirements
from ogpu_provider.scheduler.requirements import SlotLimits
from ogpu_provider.scheduler.scheduler import HostScheduler


@dataclass(frozen=True, slots=True)
class Stand:
    """A source as this host would have served it. `refusal`: why it does not; None: it does.

    `devices`: how many its project takes, by `images`. `problem`: why its tasks are declined though it is served.
    """

    params: SourceParams
    environment: Environment | None = None
    devices: int = 0
    images: tuple[str, ...] = ()
    refusal: Ruling | None = None
    problem: str = ""


_ANY = frozenset({""})


def candidate_of(task: PastTask, stand: Stand, now: float, *, warm: bool = True, function: str = "") -> Candidate:
    """What the live rules look at. `warm`: the containers of its source are up; they are taken to have the function,
    which the chain's past does not name.
    """
    return Candidate(
        task=task.task,
        source=task.source,
        client=stand.params.client,
        obliged=False,
        payment=task.payment,
        expiry=task.expiry,
        delivery=stand.params.delivery,
        environment=stand.environment,
        function=function,
        functions=None if not warm else frozenset({function}) if function else _ANY,
        violations=(),
        source_problem=stand.problem,
        now=now,
    )


@dataclass(slots=True)
class Seat:
    """A source at work: `limit` slots for its tasks, `slots` for each, on `devices` while it is `seated`.

    `running`: slots that are taken; `waiting`: tasks that are not in.
    """

    stand: Stand
    slots: int
    limit: int
    idle_since: float
    seated: bool = False
    devices: tuple[str, ...] = ()
    running: int = 0
    waiting: int = 0


class Seats:
    """Every source of `stands`; those that are served have their devices from the start, in the order given.

    `idle_after`: seconds without a task after which a source gives its devices to one that has none; None: never.
    """

    def __init__(
        self,
        scheduler: HostScheduler,
        stands: Mapping[Address, Stand],
        limits: SlotLimits,
        *,
        idle_after: float | None,
        begin: float,
    ) -> None:
        self._scheduler = scheduler
        self._idle_after = idle_after
        self._seats = {
            address: _seat(stand, scheduler.host.cpu_slots, limits, begin) for address, stand in stands.items()
        }
        for address, seat in self._seats.items():
            if seat.stand.refusal is None:
                self._take(address, seat, begin)

    def get(self, source: Address) -> Seat | None:
        return self._seats.get(source)

    def make_room(self, address: Address, seat: Seat, now: float) -> bool:
        """Devices that are free, or those of whoever was idle longest, where the operator lets them change hands."""
        while not self._take(address, seat, now):
            coldest = self._coldest(seat.stand.environment, now)
            if coldest is None:
                return False
            other = self._seats[coldest]
            other.seated, other.devices = False, ()
            self._scheduler.release(source_holder(coldest))
        return True

    def _take(self, address: Address, seat: Seat, now: float) -> bool:
        stand = seat.stand
        if stand.environment is None or not stand.devices:
            seat.seated = True
        elif devices := self._scheduler.grant_devices(address, stand.environment, stand.devices, stand.images):
            seat.seated, seat.devices = True, tuple(device.id for device in devices)
        seat.idle_since = now
        return seat.seated

    def _coldest(self, environment: Environment | None, now: float) -> Address | None:
        if self._idle_after is None:
            return None
        idle = [
            (seat.idle_since, address)
            for address, seat in self._seats.items()
            if seat.devices and seat.stand.environment is environment
            if not seat.running and not seat.waiting and seat.idle_since <= now - self._idle_after
        ]
        return min(idle)[1] if idle else None


def _seat(stand: Stand, slots: int, limits: SlotLimits, begin: float) -> Seat:
    if stand.environment is None:
        return Seat(stand, 1, slots, begin)
    need = requirements.of_task(stand.environment, stand.devices, slots, limits)
    return Seat(stand, need.slots, need.source_limit, begin)
