"""The half of the gateway that answers: HTTP, orders made durable, streams. It has no key, and asks no node.

`python -m ogpu_provider.gateway.answering LINE LISTENING [CONFIG]`, started by the other half (`process`) with two
sockets, for as long as that lives.
"""

import asyncio
import ctypes
import signal
import socket
import sys
from pathlib import Path

import httpx
import uvloop

from ogpu_provider import config, telemetry
from ogpu_provider.chain.networks import Network
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.order import Quota
from ogpu_provider.domain.units import Address
from ogpu_provider.gateway.access import TIERS
from ogpu_provider.gateway.app import create_app
from ogpu_provider.gateway.asks import Asks
from ogpu_provider.gateway.bell import Bell
from ogpu_provider.gateway.chain_view import ChainView
from ogpu_provider.gateway.desk import Desk
from ogpu_provider.gateway.line import Line
from ogpu_provider.gateway.local import LocalProvider
from ogpu_provider.gateway.metrics import Metrics
from ogpu_provider.gateway.rates import Rates
from ogpu_provider.gateway.routes.context import Api
from ogpu_provider.gateway.server import listen
from ogpu_provider.gateway.signin import SignIn, Site
from ogpu_provider.gateway.streams import Streams
from ogpu_provider.ipfs.webhook import Poster
from ogpu_provider.settings import Settings
from ogpu_provider.store.orders import GatewayStore

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Answering:
    def __init__(
        self,
        settings: Settings,
        network: Network,
        store: GatewayStore,
        poster: Poster,
        local: LocalProvider,
        line: Line,
        at: socket.socket,
    ) -> None:
        self._line = line
        self._store = store
        self._bell = Bell()
        self._metrics = Metrics()
        self._view = ChainView(line)
        self._at = at
        self._settings = settings.gateway
        store.heard = self._written
        clock = SystemClock()
        asks = Asks(store, network, clock, lambda: line.tell("planned"))
        self._desk = Desk(
            store, asks, network, clock, self._view.balance, poster.vet, self._view.time, _tiers(settings)
        )
        self._api = Api(
            store=store,
            desk=self._desk,
            asks=asks,
            streams=Streams(store, self._bell),
            local=local,
            rates=Rates(),
            signin=SignIn(store, clock, _site(settings, network, at), self._view.vouches),
            metrics=self._metrics,
            clock=clock,
            currency=network.currency,
            secure=(settings.gateway.public_url or "").startswith("https:"),
        )

    async def serve(self) -> None:
        """Until the other half is gone."""
        chosen = self._settings
        if chosen.metrics_port:
            self._metrics.serve(chosen.host, chosen.metrics_port)
        await self._desk.restore()
        app = create_app(self._api, body_limit=chosen.body_limit)
        serving = asyncio.create_task(listen(app, self._at, body_limit=chosen.body_limit))
        hearing = asyncio.create_task(self._hear())
        self._line.tell("ready")
        done, left = await asyncio.wait((serving, hearing), return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for task in done:
            task.result()

    async def _hear(self) -> None:
        async for told in self._line.messages():
            match told["what"]:
                case "rung":
                    self._bell.ring()
                case "settled":
                    self._desk.release(told["order"])
                case "measured":
                    self._metrics.take(told)
                case _:
                    self._view.take(told)

    def _written(self) -> None:
        self._bell.ring()
        self._line.ring()


def _tiers(settings: Settings) -> dict[str, Quota]:
    chosen = settings.gateway.tiers.items()
    return {**TIERS, **{name: Quota(one.hourly, one.concurrent, one.batches) for name, one in chosen}}


def _site(settings: Settings, network: Network, at: socket.socket) -> Site:
    chosen = settings.gateway
    place = httpx.URL(chosen.public_url or f"http://{chosen.host}:{at.getsockname()[1]}")
    return Site(place.netloc.decode(), str(place), network.chain_id, chosen.sign_in_budget)


async def serve(settings: Settings, line: Line, at: socket.socket) -> None:
    """Raises ProviderError for what keeps it from answering."""
    told = await anext(line.messages())
    network, client, private = Network(**told["network"]), Address(told["client"]), settings.network.allow_private_urls
    store = await GatewayStore.open(settings.gateway_database, chain_id=network.chain_id, client=client, second=True)
    try:
        async with (
            Poster(allow_private=private) as poster,
            LocalProvider(settings.gateway.provider_data_dir) as local,
        ):
            await Answering(settings, network, store, poster, local, line, at).serve()
    finally:
        await store.close()


async def _main(line_end: int, listening: int, *file: str) -> None:
    line = await Line.over(socket.socket(fileno=line_end))
    try:
        settings = config.load(Path(file[0]) if file else None).settings
        telemetry.configure(level=settings.logs.level, format=settings.logs.format)
        await serve(settings, line, socket.socket(fileno=listening))
    except ProviderError as error:
        line.tell("failed", kind=type(error).__name__, code=error.code, text=str(error), remedy=error.remedy)
    finally:
        line.close()


def main(words: list[str]) -> None:
    if sys.platform == "linux":  # killed, the other half leaves nobody behind who answers for it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the other half, whose end is ours
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(int(words[0]), int(words[1]), *words[2:]))


if __name__ == "__main__":
    main(sys.argv[1:])
