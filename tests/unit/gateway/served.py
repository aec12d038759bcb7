"""The Tasks API on a port, over a real database and no chain: nothing is published, so orders stay CREATED."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ogpu_provider.chain.networks import MAINNET
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.order import Model, OrderState, Quota
from ogpu_provider.domain.units import COIN, Address, Wei
from ogpu_provider.gateway.address import bound
from ogpu_provider.gateway.app import create_app
from ogpu_provider.gateway.asks import Asks
from ogpu_provider.gateway.bell import Bell
from ogpu_provider.gateway.desk import Desk
from ogpu_provider.gateway.local import LocalProvider
from ogpu_provider.gateway.metrics import Metrics
from ogpu_provider.gateway.rates import Rates
from ogpu_provider.gateway.routes.context import Api
from ogpu_provider.gateway.server import listen
from ogpu_provider.gateway.signin import SignIn, Site
from ogpu_provider.gateway.streams import Streams
from ogpu_provider.ipfs.webhook import Poster
from tests.unit.gateway.orders import SOURCE, a_key, opened

TIERS = {"plenty": Quota(10**9, 10**9, 10**9)}


@dataclass(frozen=True, slots=True)
class Served:
    """`task`: one that has a result, of the owner of `key`; `other` is another key."""

    url: str
    key: str
    other: str
    task: str


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """On a thread with a loop of its own, for clients that block."""
    ready, ended = threading.Event(), threading.Event()
    found: list[Served] = []
    thread = threading.Thread(target=lambda: asyncio.run(_serve(folder, found, ready, ended)), daemon=True)
    thread.start()
    try:
        assert ready.wait(20)
        yield found[0]
    finally:
        ended.set()
        thread.join(20)


async def _serve(folder: Path, found: list[Served], ready: threading.Event, ended: threading.Event) -> None:
    store, clock, bell = await opened(folder), SystemClock(), Bell()
    store.heard = bell.ring
    await store.put_model(Model("multiply", SOURCE, "multiply", COIN // 100))
    key, text = await a_key(store, "first", tier="plenty")
    _, other = await a_key(store, "second", tier="plenty")

    async def balance() -> Wei:
        return 10**30

    async with Poster(resolve=_nowhere) as poster:
        asks = Asks(store, MAINNET, clock, bell.ring)
        desk = Desk(store, asks, MAINNET, clock, balance, poster.vet, clock.now, TIERS)
        api = Api(
            store=store,
            desk=desk,
            asks=asks,
            streams=Streams(store, bell, beat_s=0.05, longest_s=0.1),
            local=LocalProvider(None),
            rates=Rates(requests=10**9, sign_ins=10**9),
            signin=SignIn(store, clock, Site("api.example", "https://api.example/", 1071, None), _vouches),
            metrics=Metrics(),
            clock=clock,
            currency="OGPU",
            secure=False,
        )
        from tests.unit.gateway.orders import an_order

        order = await an_order(store, key, 1, at=clock.now())
        await store.put_result(order.id, b'[{"a": 1}]')
        await store.move(replace(order), "completed", at=clock.now(), state=OrderState.COMPLETED)
        at = bound("127.0.0.1", 0)
        port = at.getsockname()[1]
        serving = asyncio.create_task(listen(create_app(api, body_limit=64 << 10), at, body_limit=64 << 10))
        found.append(Served(f"http://127.0.0.1:{port}", text, other, order.id))
        ready.set()
        await asyncio.to_thread(ended.wait)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    await store.close()


async def _vouches(wallet: Address, digest: bytes, signature: bytes) -> bool:
    return False


async def _nowhere(host: str, port: int) -> list[str]:
    raise OSError("no name has an address here")
