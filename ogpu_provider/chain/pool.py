"""Several nodes as one: reads from the highest healthy endpoint, sends to all, heads from whoever announces first.

An endpoint that fails rests for a growing while and is asked again; one that hangs is overtaken after `hedge`
seconds; one on another network is left out for as long as it is. With one endpoint all of this costs nothing: its
calls pass through.
"""

import asyncio
import contextlib
import random as _random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import structlog

from ogpu_provider.chain.bucket import Bucket
from ogpu_provider.chain.feed import Answers
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.socket import HeadStream
from ogpu_provider.chain.wire import Busy, Call, JsonRpcError
from ogpu_provider.domain.clock import Clock, SystemClock
from ogpu_provider.domain.errors import ChainError, ConfigError, RpcRejected, RpcUnavailable, WrongNetwork

log = structlog.get_logger(__name__)

LOOK_PAUSE = 5.0
"""Seconds between questions for the head of an endpoint that does not announce it; never asked of a single one."""
_REST, _REST_MAX = 0.5, 30.0  # seconds after a failure: first, and at most
_PATIENCE = 5.0  # seconds; a call does not wait longer than this for a token
_HEARD = 512  # announced blocks that are remembered, so that each is passed on once
_SEND = "eth_sendRawTransaction"


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """What is known of an endpoint. `head` is the newest block seen there, -1 if none; `limit` in calls per second."""

    name: str
    healthy: bool
    head: int
    errors: int
    reason: str
    announces: bool
    limit: float


@dataclass(slots=True)
class _Endpoint:
    """`errors` in a row; `rests_until` in monotonic seconds."""

    name: str
    rpc: Rpc
    bucket: Bucket
    head: int = -1
    errors: int = 0
    reason: str = ""
    rests_until: float = 0.0
    wrong: WrongNetwork | None = None
    announces: bool = False


@dataclass(slots=True)
class _Round:
    """One read in progress at one or more endpoints."""

    queue: list[_Endpoint]
    running: dict[asyncio.Task[Answers], _Endpoint] = field(default_factory=dict)
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
        names = [rpc.name for rpc in endpoints]
        self._endpoints = [
            _Endpoint(name if names.count(name) == 1 else f"{name}#{index + 1}", rpc, Bucket(rate))
            for index, (name, rpc) in enumerate(zip(names, endpoints, strict=True))
        ]
        self._alone = self._endpoints[0] if len(self._endpoints) == 1 else None
        self._hedge = hedge
        self._clock = clock or SystemClock()
        self._random = random
        self._group = asyncio.TaskGroup()
        self._services: list[asyncio.Task[None]] = []
        self._sends: set[asyncio.Task[Answers | ChainError]] = set()
        self._streams: list[HeadStream] = []
        self._heard: dict[str, None] = {}
        self._entered: list[_Endpoint] = []
        self._settled = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        for endpoint in self._endpoints:
            await endpoint.rpc.__aenter__()
            self._entered.append(endpoint)
        if self._alone is None:
            for endpoint in self._endpoints:
                if endpoint.rpc.pushes:
                    self._serve(self._listen(endpoint), f"heads of {endpoint.name}")
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
        now = self._clock.monotonic()
        return tuple(
            EndpointHealth(
                name=one.name,
                healthy=one.wrong is None and not one.errors and one.bucket.wait(now) < _PATIENCE,
                head=one.head,
                errors=one.errors,
                reason=one.reason,
                announces=one.announces if self._alone is None else one.rpc.pushes,
                limit=one.bucket.rate,
            )
            for one in self._endpoints
        )

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
            return await self._ask(self._alone, calls), self._alone.name
        if any(method == _SEND for method, _ in calls):
            return await self._send(calls), ""
        return await self._read(calls, self._order())

    async def elsewhere(self, calls: Sequence[Call], than: str) -> Answers | None:
        others = [one for one in self._order() if one.name != than and one.wrong is None]
        try:
            return (await self._read(calls, others))[0] if others else None
        except (RpcUnavailable, WrongNetwork):
            return None

    async def _read(self, calls: Sequence[Call], queue: list[_Endpoint]) -> tuple[Answers, str]:
        """From the first endpoint that answers; the next one is asked on an error, or when `hedge` has passed."""
        turn = _Round(queue)
        try:
            while turn.queue or turn.running:
                if turn.queue:
                    endpoint = turn.queue.pop(0)
                    turn.running[asyncio.ensure_future(self._ask(endpoint, calls))] = endpoint
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
                    self._failed(endpoint, RpcUnavailable(f"no answer in {self._hedge:g} s"))
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
            self._group.create_task(self._quietly(endpoint, calls), name=f"send to {endpoint.name}")
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

    async def _quietly(self, endpoint: _Endpoint, calls: Sequence[Call]) -> Answers | ChainError:
        try:
            return await self._ask(endpoint, calls)
        except ChainError as error:
            return error

    async def _ask(self, endpoint: _Endpoint, calls: Sequence[Call]) -> Answers:
        await self._token(endpoint, calls)
        try:
            answers = await endpoint.rpc.batch(calls)
        except WrongNetwork as error:
            if endpoint.wrong is None:
                log.error("rpc_wrong_network", endpoint=endpoint.name, reason=str(error), remedy=error.remedy)
            endpoint.wrong = error
            self._failed(endpoint, error)
            raise
        except ChainError as error:
            self._failed(endpoint, error)
            raise
        self._worked(endpoint)
        for (method, params), answer in zip(calls, answers, strict=True):
            if method == "eth_blockNumber" or (method == "eth_getBlockByNumber" and params[0] == "latest"):
                self._saw(endpoint, answer)
        return answers

    async def _token(self, endpoint: _Endpoint, calls: Sequence[Call]) -> None:
        """Wait for a token, or raise RpcUnavailable where that takes too long. Sends go ahead of the line."""
        now = self._clock.monotonic()
        wait = endpoint.bucket.wait(now)
        if wait > 0 and calls[0][0] != _SEND:
            if wait > _PATIENCE:
                raise RpcUnavailable(f"{endpoint.name} asked for a rest of {wait:.0f} s")
            await self._clock.sleep(wait)
        endpoint.bucket.take(len(calls), self._clock.monotonic())

    # what is known of the endpoints

    def _order(self) -> list[_Endpoint]:
        """Those to ask, best first: on our network, not at rest, highest, in the order of the settings."""
        now = self._clock.monotonic()

        def rank(one: _Endpoint) -> tuple[bool, bool, int, float]:
            resting = one.rests_until > now
            return one.wrong is not None, resting, -one.head, one.rests_until if resting else 0.0

        return sorted(self._endpoints, key=rank)

    def _failed(self, endpoint: _Endpoint, error: ChainError) -> None:
        now = self._clock.monotonic()
        endpoint.errors += 1
        endpoint.reason = str(error)[:200]
        rest = min(_REST_MAX, _REST * 2 ** min(endpoint.errors - 1, 8)) * (0.5 + self._random())
        endpoint.rests_until = now + rest
        if isinstance(error, Busy):
            endpoint.bucket.refused(error.retry_after, now)
            endpoint.rests_until = max(endpoint.rests_until, now + endpoint.bucket.wait(now))
        if endpoint.errors == 1:
            log.warning("rpc_endpoint_failing", endpoint=endpoint.name, reason=endpoint.reason)

    def _worked(self, endpoint: _Endpoint) -> None:
        if endpoint.errors or endpoint.wrong:
            log.info("rpc_endpoint_back", endpoint=endpoint.name, errors=endpoint.errors)
        endpoint.errors, endpoint.reason, endpoint.rests_until, endpoint.wrong = 0, "", 0.0, None

    def _saw(self, endpoint: _Endpoint, answer: object) -> None:
        number = answer.get("number") if isinstance(answer, dict) else answer
        with contextlib.suppress(ValueError):
            endpoint.head = int(number, 16) if isinstance(number, str) else endpoint.head

    def _worst(self, errors: Sequence[ChainError]) -> ChainError:
        wrong = [one.wrong for one in self._endpoints if one.wrong is not None]
        if len(wrong) == len(self._endpoints):
            return wrong[0]
        unwell = [error for error in errors if not isinstance(error, WrongNetwork)]
        return unwell[-1] if unwell else RpcUnavailable("no endpoint answers")

    # heads

    async def subscribe_heads(self) -> HeadStream:
        """New headers of all websockets, each block once. Lost only when no websocket is left."""
        if self._alone is not None:
            return await self._alone.rpc.subscribe_heads()
        await self._settled.wait()
        if not any(endpoint.announces for endpoint in self._endpoints):
            raise RpcUnavailable("no endpoint announces blocks")
        self._streams.append(HeadStream())
        return self._streams[-1]

    async def _listen(self, endpoint: _Endpoint) -> None:
        while True:
            try:
                stream = await endpoint.rpc.subscribe_heads()
                endpoint.announces = True
                self._settled.set()
                async for header in stream:
                    self._announced(endpoint, header)
            except RpcRejected as error:
                log.warning("chain_subscription_refused", endpoint=endpoint.name, reason=str(error))
                endpoint.announces = False
                self._settled.set()
                return
            except ChainError as error:
                endpoint.wrong = error if isinstance(error, WrongNetwork) else endpoint.wrong
                endpoint.announces = False
                self._silent(error)
            await self._clock.sleep(_REST * (0.5 + self._random()))

    def _announced(self, endpoint: _Endpoint, header: dict[str, Any]) -> None:
        self._saw(endpoint, header)
        name = str(header.get("hash")).lower()
        if name in self._heard:
            return
        self._heard[name] = None
        if len(self._heard) > _HEARD:
            del self._heard[next(iter(self._heard))]
        for stream in self._streams:
            stream.put(header)

    def _silent(self, error: ChainError) -> None:
        """Subscribers hear of it once nobody announces any more."""
        if any(endpoint.announces for endpoint in self._endpoints):
            return
        self._settled.set()
        for stream in self._streams:
            stream.lose(RpcUnavailable(f"no endpoint announces blocks: {error}"))
        self._streams.clear()

    async def _look(self, endpoint: _Endpoint) -> None:
        """Ask for a head that is not announced, and whether what failed is back."""
        while True:
            if not endpoint.announces or endpoint.wrong is not None:
                await self._quietly(endpoint, [("eth_blockNumber", ())])
            await self._clock.sleep(LOOK_PAUSE)

    def _serve(self, service: Coroutine[Any, Any, None], name: str) -> None:
        self._services.append(self._group.create_task(service, name=name))
