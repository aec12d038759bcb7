"""What is known of one endpoint of a pool: how high it is, whether it answers, how often it may be asked."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from ogpu_provider.chain.bucket import Bucket
from ogpu_provider.chain.feed import Answers
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.wire import Busy, Call
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ChainError, RpcUnavailable, WrongNetwork

log = structlog.get_logger(__name__)

REST, REST_MAX = 0.5, 30.0
"""Seconds of rest after a failure: first, and at most."""
PATIENCE = 5.0
"""Seconds; a call does not wait longer than this for a token."""
SEND = "eth_sendRawTransaction"


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """What is known of an endpoint. `head` is the newest block seen there, -1 if none; `lag` the blocks that it is
    behind the highest.

    `errors` in a row, `reason` of the last one; `rests_s` until it is asked again, in seconds; `limited_s` of those
    because it asked for it (429). `limit` in calls per second, infinite without one. `took_s`: how long its answers
    take of late, None before the first. `socket_open`: whether its websocket is connected, None without one.
    """

    name: str
    healthy: bool
    head: int
    errors: int
    reason: str
    announces: bool
    rests_s: float
    limited_s: float
    limit: float
    took_s: float | None
    lag: int = 0
    socket_open: bool | None = None


@dataclass(slots=True)
class Endpoint:
    """`errors` in a row; `rests_until` in monotonic seconds; `random` spreads rests."""

    name: str
    rpc: Rpc
    bucket: Bucket
    clock: Clock
    random: Callable[[], float]
    head: int = -1
    errors: int = 0
    reason: str = ""
    rests_until: float = 0.0
    wrong: WrongNetwork | None = None
    announces: bool = False
    took: float | None = None

    async def ask(self, calls: Sequence[Call]) -> Answers:
        """One round trip, and what it tells of the endpoint. Raises RpcUnavailable, WrongNetwork."""
        await self._token(calls)
        began = self.clock.monotonic()
        try:
            answers = await self.rpc.batch(calls)
        except WrongNetwork as error:
            if self.wrong is None:
                log.error("rpc_wrong_network", endpoint=self.name, reason=str(error), remedy=error.remedy)
            self.wrong = error
            self.failed(error)
            raise
        except ChainError as error:
            self.failed(error)
            raise
        self._worked(self.clock.monotonic() - began)
        for (method, params), answer in zip(calls, answers, strict=True):
            if method == "eth_blockNumber" or (method == "eth_getBlockByNumber" and params[0] == "latest"):
                self.saw(answer)
        return answers

    async def quietly(self, calls: Sequence[Call]) -> Answers | ChainError:
        try:
            return await self.ask(calls)
        except ChainError as error:
            return error

    def health(self, highest: int) -> EndpointHealth:
        """`highest`: the newest block that any endpoint has."""
        now = self.clock.monotonic()
        limited, cut = self.bucket.wait(now), self.rpc.cut
        return EndpointHealth(
            name=self.name,
            healthy=self.wrong is None and not self.errors and not cut and limited < PATIENCE,
            head=self.head,
            errors=self.errors,
            reason=self.reason or cut,
            announces=self.announces,
            rests_s=max(0.0, self.rests_until - now, limited),
            limited_s=limited,
            limit=self.bucket.rate,
            took_s=self.took,
            lag=max(0, highest - self.head) if self.head >= 0 else 0,
            socket_open=self.rpc.socket_open,
        )

    def rank(self, now: float) -> tuple[bool, bool, int, float]:
        """Smaller is better: on our network, not at rest, highest, longest at rest."""
        resting = self.rests_until > now
        return self.wrong is not None, resting, -self.head, self.rests_until if resting else 0.0

    def failed(self, error: ChainError) -> None:
        now = self.clock.monotonic()
        self.errors += 1
        self.reason = str(error)[:200]
        rest = min(REST_MAX, REST * 2 ** min(self.errors - 1, 8)) * (0.5 + self.random())
        self.rests_until = now + rest
        if isinstance(error, Busy):
            self.bucket.refused(error.retry_after, now)
            self.rests_until = max(self.rests_until, now + self.bucket.wait(now))
        if self.errors == 1:
            log.warning("rpc_endpoint_failing", endpoint=self.name, reason=self.reason)

    def saw(self, answer: object) -> None:
        """Note the number of a newest block, or of its header."""
        number = answer.get("number") if isinstance(answer, dict) else answer
        with contextlib.suppress(ValueError):
            self.head = int(number, 16) if isinstance(number, str) else self.head

    async def _token(self, calls: Sequence[Call]) -> None:
        """Wait for a token, or raise RpcUnavailable where that takes too long. Sends go ahead of the line."""
        now = self.clock.monotonic()
        wait = self.bucket.wait(now)
        if wait > 0 and calls[0][0] != SEND:
            if wait > PATIENCE:
                raise RpcUnavailable(f"{self.name} asked for a rest of {wait:.0f} s")
            await self.clock.sleep(wait)
        self.bucket.take(len(calls), self.clock.monotonic())

    def _worked(self, took: float) -> None:
        if self.errors or self.wrong:
            log.info("rpc_endpoint_back", endpoint=self.name, errors=self.errors)
        self.errors, self.reason, self.rests_until, self.wrong = 0, "", 0.0, None
        self.took = took if self.took is None else self.took + 0.1 * (took - self.took)
