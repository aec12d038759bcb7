"""Webhooks are told at least once, signed, whatever fails on the way."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from ogpu_provider.domain.errors import FetchError
from ogpu_provider.domain.order import OrderState
from ogpu_provider.domain.webhook import RETRY_S, DeliveryState
from ogpu_provider.gateway.bell import Bell
from ogpu_provider.gateway.webhooks import Courier, new_secret, signed
from ogpu_provider.store.orders import GatewayStore
from tests.fakes.clock import FakeClock
from tests.unit.gateway.orders import a_key, an_order, opened

URL = "https://user.example/hook"


class Endpoint:
    """Answers what `answers` says in turn, then 200; counts what it has taken."""

    def __init__(self, *answers: int | str) -> None:
        self.answers = list(answers)
        self.taken: Counter[str] = Counter()
        self.tries: list[float] = []
        self.last: tuple[dict[str, str], bytes] = ({}, b"")

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, str):
            raise FetchError("no", code=answer)
        if 200 <= answer < 300:
            self.taken[headers["webhook-id"]] += 1
            self.last = (dict(headers), body)
        return answer, 0.0


async def told(courier: Courier, store: GatewayStore, clock: FakeClock, bell: Bell) -> None:
    """Run until nothing is pending that is not disabled, moving the clock to what is due next."""
    running = asyncio.create_task(courier.run())
    try:
        while (due := await store.next_due()) is not None:
            if due > clock.now():
                await clock.advance(due - clock.now())
                bell.ring()
            await asyncio.sleep(0)
            if running.done():
                running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_thousand_events_each_at_least_once_with_faults_and_kills(tmp_path: Path) -> None:
    """A third of the posts fail, some of them after the endpoint has taken them, and the courier is killed often."""
    chance, clock, bell = random.Random(7), FakeClock(1000.0), Bell()
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    for number in range(500):
        order = await an_order(store, key, number, callback=URL)
        order = await store.move(order, "assigned", at=1001.0, state=OrderState.ASSIGNED)
        await store.move(order, "started", at=1002.0, state=OrderState.EXECUTING)
    taken: Counter[str] = Counter()
    failed = posts = kills = 0

    async def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        nonlocal failed, posts
        posts += 1
        await asyncio.sleep(0)
        bad = chance.random() < 0.3
        failed += bad
        if bad and chance.random() < 0.5:
            return chance.choice((500, 503, 301)), 0.0
        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        assert headers["webhook-signature"] == Webhook(key.secrets[0]).sign(headers["webhook-id"], at, body.decode())
        taken[headers["webhook-id"]] += 1
        if bad:
            raise FetchError("the answer was lost", code="fetch.timeout")
        return 200, 0.0

    try:
        while await store.next_due() is not None:
            courier = Courier(store, clock, post, bell, each=20, spread=chance.random)
            try:
                await asyncio.wait_for(told(courier, store, clock, bell), chance.uniform(0.1, 0.6))
            except TimeoutError:
                kills += 1
        rows = await store.deliveries(limit=2000)
    finally:
        await store.close()
    assert len(rows) == 1000
    assert {row.state for row in rows} == {DeliveryState.DELIVERED}
    assert set(taken) == {row.id for row in rows}
    assert kills > 0
    assert failed / posts == pytest.approx(0.3, abs=0.05)


async def test_the_schedule_is_followed_and_then_given_up(tmp_path: Path) -> None:
    clock, bell, endpoint = FakeClock(1000.0), Bell(), Endpoint(*["fetch.timeout"] * 50)
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    order = await an_order(store, key, 1, callback=URL)
    await store.move(order, "assigned", at=1000.0, state=OrderState.ASSIGNED)
    try:
        await told(Courier(store, clock, endpoint.post, bell, spread=lambda: 0.0), store, clock, bell)
        (row,) = await store.deliveries()
        assert (row.state, row.tries, row.answer) == (DeliveryState.FAILED, len(RETRY_S), "fetch.timeout")
        assert clock.now() == 1000.0 + sum(RETRY_S)
        assert await store.replay(clock.now(), url=URL) == 1
        endpoint.answers.clear()
        await told(Courier(store, clock, endpoint.post, bell), store, clock, bell)
        assert [one.state for one in await store.deliveries()] == [DeliveryState.DELIVERED]
    finally:
        await store.close()


async def test_an_endpoint_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    clock, bell, endpoint = FakeClock(1000.0), Bell(), Endpoint()
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    for number in range(40):
        url = URL if number == 39 else "https://hangs.example/hook"
        order = await an_order(store, key, number, callback=url)
        await store.move(order, "assigned", at=1000.0, state=OrderState.ASSIGNED)

    async def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        if url != URL:
            await asyncio.Event().wait()
        return await endpoint.post(url, body, headers)

    running = asyncio.create_task(Courier(store, clock, post, bell, at_once=10).run())
    try:
        async with asyncio.timeout(60):
            while not endpoint.taken:
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()


async def test_a_rotated_secret_signs_beside_the_old_one(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    order = await an_order(store, key, 1, callback=URL)
    await store.move(order, "failed", at=1000.0, state=OrderState.FAILED, code="task.expired", reason="x" * 100_000)
    (row,) = await store.deliveries()
    await store.close()
    assert len(row.body) < 20_000
    now, new = datetime.now(UTC).timestamp(), new_secret()
    headers = signed(row, (new, key.secrets[0]), now)
    for secret in (new, key.secrets[0]):
        assert Webhook(secret).verify(row.body, headers)["type"] == "task.failed"


async def test_an_order_without_a_callback_is_told_to_nobody(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    await store.move(await an_order(store, key, 1), "assigned", at=1000.0, state=OrderState.ASSIGNED)
    assert await store.deliveries() == []
    await store.close()
