"""Orders for the gateway's tests, in a real database."""

from pathlib import Path

from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.domain.order import ApiKey, Order, OrderState
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.gateway.access import mint
from ogpu_provider.store.orders import GatewayStore

SOURCE = Address("0x" + "51" * 20)
CLIENT = Address("0x" + "c1" * 20)
CHAIN = 1071


async def opened(folder: Path) -> GatewayStore:
    return await GatewayStore.open(folder / "gateway.db", chain_id=CHAIN, client=CLIENT)


async def a_key(store: GatewayStore, name: str = "test", **changes: object) -> tuple[ApiKey, str]:
    terms: dict[str, object] = {"tier": "standard", "scopes": ("tasks:read", "tasks:write"), "day_budget": None}
    row, text = mint(name, at=1000.0, **(terms | changes))  # type: ignore[arg-type]
    await store.add_key(row)
    return row, text


async def an_order(
    store: GatewayStore,
    key: ApiKey,
    number: int,
    *,
    at: float = 1000.0,
    callback: str = "",
    once: tuple[str, str] | None = None,
) -> Order:
    order = Order(
        id=f"task_{number:024x}",
        owner=key.id,
        model_id="multiply",
        source=SOURCE,
        state=OrderState.CREATED,
        payment=COIN // 100,
        expiry=int(at) + 360,
        max_seconds=300,
        gpu_memory="8GB",
        config_url="https://ipfs.test/ipfs/Qm",
        created_at=at,
        updated_at=at,
        callback_url=callback,
    )
    intent = Intent(f"{CHAIN}:{Effect.PUBLISH_TASK}:{order.id}", Effect.PUBLISH_TASK, SOURCE, SOURCE, b"")
    return await store.create(order, b"{}", intent, budget=key.day_budget, quota=None, once=once)
