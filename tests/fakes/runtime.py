"""A runtime in memory: sources are scripts, everything that was asked of it is kept for the test to look at."""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from ogpu_provider.domain.errors import ComposeRefused, DispatchError, EngineError, ProviderError, Retry
from ogpu_provider.domain.project import Occupancy, ProjectSpec, RunningProject
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.gate import fingerprint

Function = Callable[[object], object]
Deliver = Callable[[Address, Address, bytes], Awaitable[object]]
REFUSED = b"refused"
WAIVABLE = b"much memory"


@dataclass(frozen=True, slots=True)
class FakeContract:
    """Inputs are objects that have the keys in `needs`."""

    needs: Mapping[str, tuple[str, ...]]

    @property
    def functions(self) -> frozenset[str]:
        return frozenset(self.needs)

    def violations(self, function: str, data: str) -> tuple[str, ...]:
        if function not in self.needs:
            return (f"the source has no function {function!r}",)
        try:
            value = json.loads(data)
        except ValueError as error:
            return (f"the input is not JSON: {error}",)
        if not isinstance(value, dict):
            return ("input: is not an object",)
        return tuple(f"input: {key!r} is missing" for key in self.needs[function] if key not in value)


@dataclass(slots=True)
class Script:
    """A source: its functions with the keys their input needs, how many devices it wants, and its faults.

    `fails` maps a verb (up, dispatch, health) to errors raised one after the other before it works;
    `always_fails` to one that never goes away.
    """

    functions: dict[str, tuple[Function, tuple[str, ...]]] = field(default_factory=dict)
    devices: int = 0
    fails: dict[str, list[ProviderError]] = field(default_factory=dict)
    always_fails: dict[str, ProviderError] = field(default_factory=dict)
    answers: bool = True


@dataclass(frozen=True, slots=True)
class Dispatched:
    source: Address
    task: Address
    function: str
    data: str


@dataclass(slots=True)
class FakeRuntime:
    """Keeps the port's promises. `deliver` receives results (source, task, body) as the callback server would;
    without it, or with `Script.answers` off, a dispatch is taken and nothing is ever posted.

    A compose file that starts with `refused` does not pass the gate, one with `much memory` only under a waiver.
    `pids` run in its containers; `broken` says what tests of devices find, by their id.
    `running` outlives a daemon: give the same dict to the next FakeRuntime to have it recovered.
    """

    scripts: dict[Address, Script] = field(default_factory=dict)
    deliver: Deliver | None = None
    running: dict[Address, ProjectSpec] = field(default_factory=dict)
    dispatched: list[Dispatched] = field(default_factory=list)
    started: list[Address] = field(default_factory=list)
    stopped: list[Address] = field(default_factory=list)
    logs: list[tuple[Address, Address, float]] = field(default_factory=list)
    adopted: set[Address] = field(default_factory=set)
    forgiven: list[Address] = field(default_factory=list)
    approvals: list[Address] = field(default_factory=list)
    unpulled: dict[Address, int] = field(default_factory=dict)
    pids: set[int] = field(default_factory=set)
    broken: dict[str, ProviderError] = field(default_factory=dict)
    tested: list[str] = field(default_factory=list)

    async def device_images(
        self, source: Address, compose: bytes, environment: Environment, waived: frozenset[str] = frozenset()
    ) -> tuple[str, ...]:
        """Each source has an image of its own, named after it."""
        return (source,) if await self.device_need(compose, environment, waived) else ()

    async def images(
        self, compose: bytes, environment: Environment, waived: frozenset[str] = frozenset()
    ) -> tuple[str, ...]:
        """The lines of a file that start with `image:`."""
        await self.device_need(compose, environment, waived)
        return tuple(sorted(line for line in compose.decode().splitlines() if line.startswith("image:")))

    async def device_need(
        self,
        compose: bytes,
        environment: Environment,
        waived: frozenset[str] = frozenset(),
        source: Address | None = None,
    ) -> int:
        if compose.startswith(WAIVABLE) and "compose.shm_size" not in waived:
            raise ComposeRefused("too much shared memory", code="compose.shm_size")
        if compose.startswith(REFUSED):
            raise ComposeRefused("privileged is root on the host", code="compose.privileged")
        if environment is Environment.CPU:
            return 0
        return max((script.devices for script in self.scripts.values()), default=0)

    async def up(self, spec: ProjectSpec) -> None:
        await self.device_need(spec.compose, spec.environment, spec.waived)
        script = self._script(spec.source, "up")
        if self.running.get(spec.source) == spec and "health" not in script.always_fails:
            self.adopted.add(spec.source)
            return
        if len(spec.devices) < (script.devices if spec.environment is not Environment.CPU else 0):
            raise EngineError("devices are missing", code="engine.devices", retry=Retry.LATER)
        self.running[spec.source] = spec
        self.adopted.add(spec.source)
        self.started.append(spec.source)

    def replaces(self, spec: ProjectSpec) -> bool:
        running = self.running.get(spec.source)
        return running is not None and (running.environment, running.compose) != (spec.environment, spec.compose)

    async def contract(self, source: Address) -> FakeContract | None:
        if source not in self.adopted:
            return None
        return FakeContract({name: needs for name, (_, needs) in self.scripts[source].functions.items()})

    async def dispatch(self, source: Address, task: Address, function: str, data: str) -> None:
        if source not in self.adopted:
            raise DispatchError("the source's project is not up", code="dispatch.unreachable", retry=Retry.LATER)
        script = self._script(source, "dispatch")
        contract = await self.contract(source)
        assert contract is not None
        if problems := contract.violations(function, data):
            raise DispatchError("; ".join(problems), code="dispatch.rejected", retry=Retry.NEVER)
        self.dispatched.append(Dispatched(source, task, function, data))
        if self.deliver and script.answers:
            result = script.functions[function][0](json.loads(data))
            if result is not None:
                await self.deliver(source, task, json.dumps(result).encode())

    async def health(self, source: Address) -> None:
        if source not in self.adopted:
            raise EngineError("the source's project is not up", code="engine.not_up", retry=Retry.LATER)
        self._script(source, "health")

    async def keep_logs(self, source: Address, task: Address, since: float) -> None:
        self.logs.append((source, task, since))

    async def occupancy(self) -> Occupancy:
        running = (
            RunningProject(spec.source, spec.environment, fingerprint(spec.compose), tuple(d.id for d in spec.devices))
            for spec in self.running.values()
        )
        return Occupancy(tuple(running))

    async def own(self, pids: Collection[int]) -> frozenset[int]:
        return frozenset(self.pids.intersection(pids))

    async def test(self, device: Device) -> None:
        self.tested.append(device.id)
        if error := self.broken.get(device.id):
            raise error

    async def pull_left(self, source: Address) -> int:
        return self.unpulled.get(source, 0)

    async def approved(self, source: Address, digest: str = "") -> tuple[str, ...]:
        self.approvals.append(source)
        return ()

    def forgive(self, source: Address) -> None:
        self.forgiven.append(source)

    async def down(self, source: Address) -> None:
        if source in self.scripts:
            self._script(source, "down")
        self.adopted.discard(source)
        if self.running.pop(source, None) is not None:
            self.stopped.append(source)

    async def recover(self) -> list[RunningProject]:
        self.adopted |= set(self.running)
        return [
            RunningProject(spec.source, spec.environment, fingerprint(spec.compose), tuple(d.id for d in spec.devices))
            for spec in self.running.values()
        ]

    def _script(self, source: Address, verb: str) -> Script:
        script = self.scripts.get(source)
        if script is None:
            raise EngineError("no such image", code="engine.image_missing", retry=Retry.LATER)
        if error := script.always_fails.get(verb):
            raise error
        if waiting := script.fails.get(verb):
            raise waiting.pop(0)
        return script
