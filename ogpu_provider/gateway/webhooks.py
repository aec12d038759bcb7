"""Tells users' endpoints what happened, by Standard Webhooks 1.0: signed, at least once, by a schedule that outlives
restarts. An endpoint is a stranger's URL: it is checked when an order names it and at every connection."""

import asyncio
import base64
import hashlib
import hmac
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import FetchError, StoreError
from ogpu_provider.domain.webhook import RETRY_S, Delivery, DeliveryState
from ogpu_provider.gateway.bell import Bell
from ogpu_provider.store.orders import GatewayStore

log = structlog.get_logger(__name__)
SECRET_PREFIX = "whsec_"  # noqa: S105
JITTER = 0.1
IDLE_S = 30.0
DISABLED = "disabled by its answer 410 Gone"


Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[tuple[int, float]]]
"""POSTs a body to a checked address: the answer's status and the pause in seconds that it asks for. No redirects.

Raises FetchError."""


def new_secret() -> str:
    """256 random bits, written as Standard Webhooks does."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(delivery: Delivery, keys: Sequence[str], at: float) -> dict[str, str]:
    """The headers that prove who sends; one signature a secret, so that a receiver may change over in its own time."""
    content = f"{delivery.id}.{int(at)}.".encode() + delivery.body
    marks = [base64.b64encode(hmac.digest(_raw(key), content, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-id": delivery.id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": " ".join("v1," + mark for mark in marks),
        "content-type": "application/json",
    }


def _raw(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX))


class Courier:
    """Tells what is due, `at_once` at most and `each` to one endpoint, so that one that hangs holds up no other."""

    def __init__(
        self,
        store: GatewayStore,
        clock: Clock,
        post: Post,
        bell: Bell,
        *,
        at_once: int = 20,
        each: int = 2,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._clock = clock
        self._post = post
        self._bell = bell
        self._at_once = at_once
        self._each = each
        self._spread = spread
        self._busy: dict[str, tuple[str, str]] = {}
        self.told: Counter[str] = Counter()

    async def run(self) -> None:
        """Until canceled; what is on its way then is told again after the start."""
        async with asyncio.TaskGroup() as group:
            while True:
                heard = self._bell.heard
                for one in await self._startable():
                    self._busy[one.id] = (one.owner, one.url)
                    group.create_task(self._tell(one))
                await self._bell.wait(heard, await self._pause())

    async def _startable(self) -> list[Delivery]:
        room = self._at_once - len(self._busy)
        if room <= 0:
            return []
        load, chosen = Counter(self._busy.values()), list[Delivery]()
        for one in await self._store.due(self._clock.now(), limit=20 * self._at_once):
            place = (one.owner, one.url)
            if one.id not in self._busy and load[place] < self._each and len(chosen) < room:
                load[place] += 1
                chosen.append(one)
        return chosen

    async def _pause(self) -> float:
        """Seconds until the next one is due; one that ends rings the bell."""
        if self._busy:
            return IDLE_S
        at = await self._store.next_due()
        return IDLE_S if at is None else min(max(at - self._clock.now(), 0.05), IDLE_S)

    async def _tell(self, delivery: Delivery) -> None:
        try:
            done = await self._tried(delivery)
            await self._store.put_try(done)
            self.told[done.state] += 1
        except StoreError as error:  # it will be told again: at least once is the promise
            log.warning("webhook_try_not_stored", delivery=delivery.id, code=error.code)
            await self._clock.sleep(RETRY_S[1])
        finally:
            del self._busy[delivery.id]
            self._bell.ring()

    async def _tried(self, delivery: Delivery) -> Delivery:
        tries, asked = delivery.tries + 1, 0.0
        headers = signed(delivery, await self._keys(delivery), self._clock.now())
        try:
            status, asked = await self._post(delivery.url, delivery.body, headers)
        except FetchError as error:
            text = error.code
        else:
            text = f"HTTP {status}"
            if 200 <= status < 300:
                return replace(delivery, tries=tries, state=DeliveryState.DELIVERED, answer=text)
            if status == 410:
                await self._store.disable(delivery.url, DISABLED, at=self._clock.now(), owner=delivery.owner)
                return replace(delivery, tries=tries, state=DeliveryState.FAILED, answer=text)
        log.info("webhook_not_taken", delivery=delivery.id, tries=tries, answer=text)
        if tries >= len(RETRY_S):
            return replace(delivery, tries=tries, state=DeliveryState.FAILED, answer=text)
        pause = max(RETRY_S[tries] * (1 + JITTER * self._spread()), min(asked, RETRY_S[-1]))
        return replace(delivery, tries=tries, next_at=self._clock.now() + pause, answer=text)

    async def _keys(self, delivery: Delivery) -> tuple[str, ...]:
        key = await self._store.key(delivery.owner)
        return key.secrets if key else ()
