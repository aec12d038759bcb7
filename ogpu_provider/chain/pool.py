"""Several nodes as one: reads from the highest healthy endpoint, sends to all, heads from whoever announces first.

An endpoint that fails rests for a growing while and is asked again; one that hangs is overtaken after `hedge`
seconds; one on another network is left out for as long as it is. With one endpoint all of this costs nothing: its
calls pass through.
"""

import asyncio
import random as _random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from ogpu_provider.chain.bucket import Bucket
from ogpu_provider.chain.chorus import Chorus
from ogpu_provider.chain.endpoint import SEND, Endpoint, EndpointHealth
from ogpu_provider.chain.feed import Answers
from ogpu_provider.chain.news import Json, LogId, NewsStream
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.clock import Clock, SystemClock
from ogpu_provider.domain.errors import ChainError, ConfigError, RpcUnavailable, WrongNetwork

LOOK_PAUSE = 5.0
"""Seconds between questions for the head of an endpoint that does not announce it; never asked of a single one."""


@dataclass(slots=True)
class _Round:
    """One read in progress at one or more endpoints."""

    queue: list[Endpoint]
    running: dict[asyncio.Task[Answers], Endpoint] = field(default_factory=dict)
    errors: list[ChainError] = field(default_factory=list)


class RpcPool:
    """`async with RpcPool([...]) as pool`; the methods of `Rpc`. `rate`: calls per second to each endpoint.

    Raises RpcUnavailable when no endpoint answers, WrongNetwork when every one is on another network, and
    JsonRpcError from `call`. A send succeeds if one endpoint takes it.
    """

    def __init__(
        self,
        endpoints: Sequence[Rpc],
        *,
        rate: float | None = None,
        hedge: float = 1.0,
        clock: Clock | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        if not endpoints:
            raise ConfigError("there is no RPC URL", remedy="set network.rpc_url or network.rpc_urls")
        self._clock = clock or SystemClock()
        names = [rpc.name for rpc in endpoints]
        self._endpoints = [
            Endpoint(name if names.count(name) == 1 else f"{name}#{index + 1}", rpc, Bucket(rate), self._clock, random)
            for index, (name, rpc) in enumerate(zip(names, endpoints, strict=True))
        ]
        self._alone = self._endpoints[0] if len(self._endpoints) == 1 else None
        self._hedge = hedge
        self._group = asyncio.TaskGroup()
        self._services: list[asyncio.Task[None]] = []
        self._sends: set[asyncio.Task[Answers | ChainError]] = set()
        self._chorus = Chorus(self._endpoints, self._clock, random)
        self._entered: list[Endpoint] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        for endpoint in self._endpoints:
            await endpoint.rpc.__aenter__()
            self._entered.append(endpoint)
        for name, service in self._chorus.services():
            self._serve(service, name)
        if self._alone is None:
            for endpoint in self._endpoints:
                self._serve(self._look(endpoint), f"look at {endpoint.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (*self._services, *self._sends):
            task.cancel()
        canceled = isinstance(error, asyncio.CancelledError)
        try:
            for endpoint in reversed(self._entered):
                await endpoint.rpc.__aexit__(kind, error, trace)
        finally:
            await self._group.__aexit__(kind if canceled else None, error if canceled else None, trace)

    @property
    def counts(self) -> Counter[str]:
        """Requests made, by method, at all endpoints together."""
        return sum((endpoint.rpc.counts for endpoint in self._endpoints), Counter())

    @property
    def pushes(self) -> bool:
        return any(endpoint.rpc.pushes for endpoint in self._endpoints)

    @property
    def several(self) -> bool:
        """Whether one endpoint can be held against another."""
        return self._alone is None

    def health(self) -> tuple[EndpointHealth, ...]:
        """Each endpoint, in the order of the settings."""
        highest = max(one.head for one in self._endpoints)
        return tuple(one.health(highest) for one in self._endpoints)

    # calls

    async def call(self, method: str, *params: Any) -> Any:
        [answer] = await self.batch([(method, params)])
        if isinstance(answer, JsonRpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[Call]) -> Answers:
        return (await self.attributed(calls))[0]

    async def attributed(self, calls: Sequence[Call]) -> tuple[Answers, str]:
        if self._alone is not None:
            return await self._alone.ask(calls), self._alone.name
        if any(method == SEND for method, _ in calls):
            return await self._send(calls), ""
        return await self._read(calls, self._order())

    async def elsewhere(self, calls: Sequence[Call], than: str) -> Answers | None:
        others = [one for one in self._order() if one.name != than and one.wrong is None]
        try:
            return (await self._read(calls, others))[0] if others else None
        except (RpcUnavailable, WrongNetwork):
            return None

    async def _read(self, calls: Sequence[Call], queue: list[Endpoint]) -> tuple[Answers, str]:
        """From the first endpoint that answers; the next one is asked on an error, or when `hedge` has passed."""
        turn = _Round(queue)
        try:
            while turn.queue or turn.running:
                if turn.queue:
                    endpoint = turn.queue.pop(0)
                    turn.running[asyncio.ensure_future(endpoint.ask(calls))] = endpoint
                if found := await self._first(turn):
                    return found
        finally:
            for task in turn.running:
                if not task.cancel() and not task.cancelled():
                    task.exception()  # it failed beside one that answered
        raise self._worst(turn.errors)

    async def _first(self, turn: _Round) -> tuple[Answers, str] | None:
        """None: nobody answered yet, ask one more."""
        while turn.running:
            timeout = self._hedge if turn.queue else None
            done, _ = await asyncio.wait(turn.running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                for endpoint in turn.running.values():
                    endpoint.failed(RpcUnavailable(f"no answer in {self._hedge:g} s"))
                return None
            for task in done:
                endpoint = turn.running.pop(task)
                try:
                    return task.result(), endpoint.name
                except ChainError as error:
                    turn.errors.append(error)
            if turn.queue:
                return None
        return None

    async def _send(self, calls: Sequence[Call]) -> Answers:
        """To every endpoint; returns with the first that takes all, while the others still get it."""
        asked = {
            self._group.create_task(endpoint.quietly(calls), name=f"send to {endpoint.name}")
            for endpoint in self._endpoints
            if endpoint.wrong is None
        }
        self._sends |= asked
        errors: list[ChainError] = []
        refused: Answers | None = None
        while asked:
            done, asked = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            self._sends = {task for task in self._sends if not task.done()}
            for task in done:
                found = task.result()
                if isinstance(found, ChainError):
                    errors.append(found)
                elif any(isinstance(answer, JsonRpcError) for answer in found):
                    refused = found
                else:
                    return found
        if refused is not None:
            return refused
        raise self._worst(errors)

    # what is known of the endpoints

    def _order(self) -> list[Endpoint]:
        """Those to ask, best first: on our network, not at rest, highest, in the order of the settings."""
        now = self._clock.monotonic()
        return sorted(self._endpoints, key=lambda one: one.rank(now))

    def _worst(self, errors: Sequence[ChainError]) -> ChainError:
        wrong = [one.wrong for one in self._endpoints if one.wrong is not None]
        if len(wrong) == len(self._endpoints):
            return wrong[0]
        unwell = [error for error in errors if not isinstance(error, WrongNetwork)]
        return unwell[-1] if unwell else RpcUnavailable("no endpoint answers")

    # news

    async def subscribe(self, wanted: Json | None = None) -> NewsStream:
        """What all websockets announce, each block and log once. Lost only when no websocket is left."""
        return await self._chorus.subscribe(wanted)

    def seconded(self, log: LogId) -> bool:
        """Whether two endpoints announced this log."""
        return self._chorus.seconded(log)

    async def _look(self, endpoint: Endpoint) -> None:
        """Ask for a head that is not announced, and whether what failed is back."""
        while True:
            if not endpoint.announces or endpoint.wrong is not None:
                await endpoint.quietly([("eth_blockNumber", ())])
            await self._clock.sleep(LOOK_PAUSE)

    def _serve(self, service: Coroutine[Any, Any, None], name: str) -> None:
        self._services.append(self._group.create_task(service, name=name))
