"""What was over long ago is dropped, in small pieces, and nothing else."""

import sqlite3
from pathlib import Path

from ogpu_provider.domain.intent import IntentState, SignedTx
from ogpu_provider.domain.order import Order, OrderState
from ogpu_provider.domain.units import Hash
from ogpu_provider.store.orders import GatewayStore
from tests.unit.gateway.orders import CHAIN, a_key, an_order, opened

TABLES = ("orders", "configs", "results", "events", "deliveries", "idempotency", "intents", "signed")


def counts(path: Path) -> dict[str, int]:
    connection = sqlite3.connect(path)
    found = {name: int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]) for name in TABLES}
    connection.close()
    return found


async def finished(store: GatewayStore, order: Order, nonce: int) -> None:
    """Published with a nonce, answered and told of."""
    key = f"{CHAIN}:publishTask:{order.id}"
    tx = SignedTx(Hash(f"0x{nonce:064x}"), key, nonce, b"raw", 1, 1, None, 1.0)
    await store.put_signed(tx)
    await store.set_state(key, IntentState.SENT, at=1.0)
    await store.set_state(
        key, IntentState.MINED, at=1.0, tx_hash=tx.hash, block_number=1, block_hash=Hash("0x" + "b" * 64)
    )
    await store.set_state(key, IntentState.CONFIRMED, at=1.0, gas_used=1, fee_paid=1)
    await store.put_result(order.id, b"{}")
    await store.move(order, "completed", at=order.updated_at + 1, state=OrderState.COMPLETED)


async def test_old_orders_leave_with_all_that_was_kept_of_them(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    old = [await an_order(store, key, number, at=1000.0, callback="https://user.example/hook") for number in range(5)]
    for number, order in enumerate(old):
        await finished(store, order, number)
    live = await an_order(store, key, 10, at=1000.0)
    young = await an_order(store, key, 11, at=9000.0)
    await finished(store, young, 5)
    assert [await store.forget(5000.0, limit=3) for _ in range(3)] == [3, 2, 0]
    assert {one.id for one in (await store.orders(key.id))[0]} == {live.id, young.id}
    assert await store.order(old[0].id) is None
    assert await store.integrity_check() == []
    await store.close()
    assert counts(tmp_path / "gateway.db") == dict(zip(TABLES, (2, 2, 1, 3, 0, 0, 2, 1), strict=True))


async def test_the_highest_nonce_outlives_its_order(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    for number in range(2):
        await finished(store, await an_order(store, key, number, at=1000.0), number)
    assert await store.forget(5000.0, limit=10) == 2
    assert await store.highest_nonce() == 1
    assert await store.intent_of(Hash(f"0x{1:064x}")) is not None
    assert await store.integrity_check() == []
    await store.close()


async def test_an_idempotency_key_is_forgotten_with_its_order(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    order = await an_order(store, key, 1, at=1000.0, once=("again", "mark"))
    assert await store.first(key.id, "again", "mark") == order
    await store.move(order, "cancelled", at=1001.0, state=OrderState.CANCELLED)
    assert await store.forget(5000.0, limit=10) == 1
    assert await store.first(key.id, "again", "mark") is None
    await store.close()
