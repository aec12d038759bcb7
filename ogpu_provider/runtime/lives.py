"""The projects that run, as they are known: what they answer, and what ails them."""

import contextlib
from collections.abc import Callable
from dataclasses import replace

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import DispatchError, EngineError, Retry
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.ailment import ailment
from ogpu_provider.runtime.budget import RestartBudget
from ogpu_provider.runtime.contract import OpenApiContract
from ogpu_provider.runtime.devicememory import complaint
from ogpu_provider.runtime.dispatch import SourceClient
from ogpu_provider.runtime.egress.guard import Guard
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.live import Live, labels_of
from ogpu_provider.runtime.project_settings import ProjectSettings

log = structlog.get_logger()


class Lives:
    """`watched`: while the engine's events are followed, memory is enough. `budget` hears of each end that is found."""

    def __init__(
        self,
        engine: Engine,
        settings: ProjectSettings,
        clock: Clock,
        budget: RestartBudget,
        guard: Guard | None,
        on_change: Callable[[Address], None],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._budget = budget
        self._guard = guard
        self._on_change = on_change
        self._client = SourceClient(settings.dispatch_host, settings.dispatch_timeout)
        self._known: dict[Address, Live] = {}
        self.watched = False

    def get(self, source: Address) -> Live | None:
        return self._known.get(source)

    def put(self, live: Live) -> None:
        self._known[live.source] = live

    def drop(self, source: Address) -> Live | None:
        return self._known.pop(source, None)

    @property
    def all(self) -> tuple[Live, ...]:
        return tuple(self._known.values())

    @property
    def sources(self) -> tuple[Address, ...]:
        return tuple(self._known)

    async def adopt(self, live: Live) -> None:
        """One that was found running."""
        contract = None
        with contextlib.suppress(EngineError):
            contract = await self._client.contract(live.port)
        self.put(replace(live, contract=contract))
        log.info("project_adopted", source=live.source, answers=contract is not None)

    async def contract(self, source: Address) -> OpenApiContract | None:
        live = self._known.get(source)
        if live is None or live.contract is not None:
            return live.contract if live else None
        with contextlib.suppress(EngineError):
            contract = await self._client.contract(live.port)
            if contract and (now := self._known.get(source)) and now.port == live.port:
                self._known[source] = replace(now, contract=contract)
            return contract
        return None

    async def dispatch(self, source: Address, task: Address, function: str, data: str) -> None:
        live = self._known.get(source)
        if live is None:
            raise DispatchError("the source's project is not up", code="dispatch.unreachable", retry=Retry.LATER)
        if live.contract and function not in live.contract.functions:
            text = f"the source has no function {function[:80]!r}"
            raise DispatchError(text, code="dispatch.rejected", retry=Retry.NEVER)
        await self._client.run(live.port, function, task, data)

    async def health(self, source: Address) -> None:
        """From memory while the engine's events are followed; otherwise the engine is asked."""
        live = self._known.get(source)
        if live is None:
            raise EngineError("the source's project is not up", code="engine.not_up", retry=Retry.LATER)
        if not self.watched and live.problem is None:
            live = await self.examine(live)
        if live.problem is not None:
            raise live.problem
        if reason := self.unguarded(source):
            raise EngineError(f"egress is not held: {reason}", code="engine.unfiltered", retry=Retry.LATER)

    async def listen(self, source: Address, since: float) -> None:
        """Hear whether a source's containers have run out of their device's memory since then: it is ailing then."""
        live = self._known.get(source)
        if live is None or live.problem is not None:
            return
        problem = await complaint(self._engine, self._labels(source), since)
        if problem is not None and self._known.get(source) is live:
            self._known[source] = replace(live, problem=problem)
            log.warning("device_memory_short", source=source, reason=str(problem))
            self._on_change(source)

    async def ready(self, live: Live) -> OpenApiContract:
        """Wait for the container's own server; a port that merely accepts connections says nothing."""
        give_up = self._clock.monotonic() + self._settings.ready_timeout
        pause = 0.05
        while True:
            contract = await self._client.contract(live.port)
            if contract is not None:
                return contract
            problem = await ailment(self._engine, self._labels(live.source))
            if problem is not None:
                raise problem
            if self._clock.monotonic() >= give_up:
                text = f"no answer on /openapi.json within {self._settings.ready_timeout:g} s"
                raise EngineError(text, code="engine.never_ready", retry=Retry.LATER)
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    async def answers(self, live: Live) -> bool:
        """Whether an adopted or running project is good; waits for one that is still loading."""
        try:
            if (problem := (await self.examine(live)).problem) is not None:
                self._budget.ended(live.source, live.compose_sha256, problem)
                return False
            contract = live.contract or await self.ready(live)
        except EngineError as error:
            if error.code == "engine.unreachable":
                raise
            return False
        self._known[live.source] = replace(live, contract=contract, problem=None)
        return True

    async def examine(self, live: Live) -> Live:
        problem = await ailment(self._engine, self._labels(live.source))
        current = self._known.get(live.source)
        seen = replace(current if current and current.port == live.port else live, problem=problem)
        if current and current.port == live.port:
            self._known[live.source] = seen
        return seen

    def unguarded(self, source: Address) -> str:
        """Why its egress is not held; empty if it is."""
        return self._guard.trouble(source) if self._guard is not None else ""

    async def aclose(self) -> None:
        await self._client.aclose()

    def _labels(self, source: Address) -> dict[str, str]:
        return labels_of(self._settings.instance, source)
