"""What a key may have is counted where orders are made, so no race gives more."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.domain.order import ApiKey, Order, OrderState, Quota
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.gateway.rates import Rates
from ogpu_provider.store.orders import GatewayStore
from tests.unit.gateway.orders import CHAIN, SOURCE, a_key, an_order, opened


async def ask(store: GatewayStore, like: Order, number: int, quota: Quota, budget: int | None = None) -> str:
    """'made', or the code of the refusal."""
    order = replace(like, id=f"task_{number:024x}")
    intent = Intent(f"{CHAIN}:{Effect.PUBLISH_TASK}:{order.id}", Effect.PUBLISH_TASK, SOURCE, SOURCE, b"")
    try:
        await store.create(order, b"{}", intent, budget=budget, quota=quota, once=None)
    except StoreError as error:
        return error.code
    return "made"


@pytest.mark.parametrize(
    ("quota", "budget", "code"),
    [
        (Quota(5, 100, 1), None, "gateway.hourly"),
        (Quota(100, 5, 1), None, "gateway.concurrent"),
        (Quota(100, 100, 1), 5, "gateway.budget"),
    ],
)
async def test_thirty_at_once_get_what_one_after_the_other_would(
    tmp_path: Path, quota: Quota, budget: int | None, code: str
) -> None:
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    first = await an_order(store, key, 1)
    spend = None if budget is None else budget * first.payment
    answers = await asyncio.gather(*(ask(store, first, number, quota, spend) for number in range(2, 32)))
    await store.close()
    assert (answers.count("made"), answers.count(code)) == (4, 26)


async def test_orders_that_are_over_make_room_and_old_ones_are_forgotten(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    first = await an_order(store, key, 1, at=1000.0)
    assert await ask(store, first, 2, Quota(9, 1, 1)) == "gateway.concurrent"
    await store.move(first, "cancelled", at=1001.0, state=OrderState.CANCELLED, refunded=True)
    assert await ask(store, first, 2, Quota(9, 1, 1)) == "made"
    later = replace(first, created_at=first.created_at + 3601)
    assert await ask(store, later, 3, Quota(1, 9, 1)) == "made"
    await store.close()


async def test_what_came_back_may_be_spent_again(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    first = await an_order(store, key, 1)
    assert await ask(store, first, 2, Quota(9, 9, 9), first.payment) == "gateway.budget"
    await store.move(first, "failed", at=1001.0, state=OrderState.FAILED, refunded=True)
    assert await ask(store, first, 2, Quota(9, 9, 9), first.payment) == "made"
    await store.close()


async def test_requests_and_sign_ins_are_counted_each_for_itself() -> None:
    rates = Rates(requests=2, sign_ins=1)
    await rates.sign_in("203.0.113.7")
    for _ in range(2):
        await rates.request("a")
    for counted, who, code in ((rates.request, "a", "rate.requests"), (rates.sign_in, "203.0.113.7", "rate.sign_ins")):
        with pytest.raises(Problem) as refused:
            await counted(who)
        assert (refused.value.status, refused.value.code) == (429, code)
        assert 1 <= int(refused.value.headers["Retry-After"]) <= 61
    await rates.request("b")


def test_a_key_is_kept_as_a_hash_only(tmp_path: Path) -> None:
    async def made() -> tuple[ApiKey, str]:
        store = await opened(tmp_path)
        found = await a_key(store)
        await store.close()
        return found

    row, text = asyncio.run(made())
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert text.startswith("ogpu_live_")
    assert text.encode() not in kept
    assert row.digest.encode() in kept
