"""The whole path on real parts, in one command: local network, daemon, SDK client, tasks, payments."""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from ogpu_provider.devnet import accounts, scenario
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.engine import engine_answers, remove_instance
from ogpu_provider.devnet.handlers import sample_handlers
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.network import LocalNetwork, cache_dir
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.samples import samples_dir
from ogpu_provider.devnet.screen import Outcome, Published, Screen
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.errors import DevnetError, StoreError
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.source import DeliveryMethod, SourceState
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import Address, coin, short
from ogpu_provider.store.reader import SqliteReader, open_readonly

READY_TIMEOUT_S = 600.0
SETTLE_TIMEOUT_S = 240.0
TICK_S = 0.2
NO_ENGINE = (
    "NO CONTAINER ENGINE: the sample handlers run as plain processes on this host, without any isolation. "
    "This shows the path of a task; it is not how sources are run."
)


async def run(*, as_json: bool = False, hold: bool = False, engine: bool = True, block_time: float = 1.0) -> int:
    """Run the demo; 0 if every task ended as it should. With `hold`, stay until canceled, then leave in order.

    Without `engine`, or where none answers, the sample handlers run as plain processes.
    """
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="ogpu-demo-") as folder:
        engine = engine and await engine_answers()
        async with _stage(Path(folder), block_time, engine, screen) as stage:
            outcomes = await stage.play()
            good = not any(outcome.problems for outcome in outcomes)
            screen.table(outcomes)
            for outcome in outcomes:
                for problem in outcome.problems:
                    screen.say(f"[red]{short(outcome.task.address)}: {problem}")
            network = stage.description
            if as_json:
                print(json.dumps({"tasks": [o.row() for o in outcomes], "network": network}), flush=True)
            if hold:
                screen.say(f"holding: publish to {network['rpc_url']} with the SDK; Ctrl-C ends it")
                await stage.hold()
    return 0 if good else 1


@asynccontextmanager
async def _stage(folder: Path, block_time: float, engine: bool, screen: Screen) -> AsyncIterator["Stage"]:
    if not engine:
        screen.say(f"[bold red]{NO_ENGINE}")
        screen.say("installing the handlers' libraries (once)")
        await sample_handlers(cache_dir())
    async with AsyncExitStack() as stack:
        screen.say("starting the local network")
        network = await stack.enter_async_context(LocalNetwork(folder, block_time=block_time, registry=engine))
        made = network.describe()
        screen.say(f"chain {made['chain_id']} at {made['rpc_url']}, pinning service at {made['pin_url']}")
        screen.say("pairing the provider with its master, staking, filling the client's vault balance")
        await pair_and_fund(network.node.rpc_url, network.deployment)
        client = await stack.enter_async_context(
            SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", accounts.role("client").private_key)
        )
        sources = {
            "multiply": ("multiply", DeliveryMethod.FIRST_RESPONSE),
            "ocr": ("ocr", DeliveryMethod.FIRST_RESPONSE),
            "multiply, confirmed by hand": ("multiply", DeliveryMethod.MANUAL_CONFIRMATION),
        }
        addresses = {
            title: await publish_sample(network, client, name, delivery=how, title=title, progress=screen.say)
            for title, (name, how) in sources.items()
        }
        settings: dict[str, dict[str, object]] = {
            "admission": {"min_payment": scenario.FLOOR, "min_time_left": 5.0, "cpu_slots": 4, "slots_per_source": 4},
            "runtime": {"instance": f"demo-{folder.name[-8:].lower().replace('_', '-')}x"},
        }
        if not engine:
            settings["runtime"]["engine"] = "processes"
        screen.say("starting the daemon")
        daemon = await stack.enter_async_context(
            ProviderProcess(folder, made, accounts.role("provider").private_key, settings)
        )
        stack.push_async_callback(_remove_projects, engine, str(settings["runtime"]["instance"]))
        yield Stage(network, client, daemon, addresses, {n: how for n, (_, how) in sources.items()}, screen)


async def _remove_projects(engine: bool, instance: str) -> None:
    """The daemon leaves its containers up; the demo's are of no use to anybody after it."""
    if engine:
        await remove_instance(instance)


class Stage:
    """The demo once everything is up."""

    def __init__(
        self,
        network: LocalNetwork,
        client: SdkClient,
        daemon: ProviderProcess,
        sources: dict[str, str],
        delivery: dict[str, DeliveryMethod],
        screen: Screen,
    ) -> None:
        self._network = network
        self._client = client
        self._daemon = daemon
        self._sources = sources
        self._delivery = delivery
        self._screen = screen

    @property
    def description(self) -> dict[str, Any]:
        return {**self._network.describe(), "sources": list(self._sources.values())}

    async def play(self) -> list[Outcome]:
        """Publish the tasks when the sources are ready, and follow them to their ends."""
        reader = await self._wait_for_sources()
        try:
            master = accounts.role("master").address
            before = await self._client.call("vault", address=master)
            published = await self._publish()
            await self._follow(reader, published)
            outcomes = [await self._judge(reader, one) for one in published]
            after = await self._client.call("vault", address=master)
        finally:
            await reader.close()
        earned = sum(outcome.row()["payment_wei"] for outcome in outcomes)
        grown = after["balance"] - before["balance"]
        if grown != earned:
            outcomes[0].problems.append(f"the master's vault balance grew by {coin(grown)}, not {coin(earned)}")
        return outcomes

    async def hold(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._daemon.check()

    async def _wait_for_sources(self) -> SqliteReader:
        self._screen.say("waiting for the daemon: images are pulled, projects started, sources registered")
        path = self._daemon.data_dir / "provider.db"
        told: set[str] = set()
        async for _ in self._ticks(READY_TIMEOUT_S, "the sources did not become ready"):
            try:
                reader = await open_readonly(path)
            except StoreError:
                continue
            rows = await reader.sources()
            for row in rows:
                if row.state is SourceState.READY and row.address not in told:
                    told.add(row.address)
                    self._screen.say(f"ready: {row.name} ({short(row.address)})")
                if row.state is SourceState.UNFIT:
                    raise DevnetError(f"source {row.name or row.address} cannot be served: {row.code}: {row.reason}")
            if told == set(self._sources.values()):
                return reader
            await reader.close()
        raise AssertionError("unreachable")

    async def _publish(self) -> list[Published]:
        published = []
        for order in scenario.orders(samples_dir() / "ocr" / "sample.png"):
            source = self._sources[order.source]
            now = time.time()
            address = await self._client.call(
                "publish_task",
                source=source,
                function=order.function,
                data=order.data,
                expiry=int(now + order.life),
                payment=order.payment,
            )
            self._screen.say(f"published {short(address)}: {order.source} · {order.function} · {coin(order.payment)}")
            published.append(Published(order, address, source, self._delivery[order.source], now))
        return published

    async def _follow(self, reader: SqliteReader, published: Sequence[Published]) -> None:
        """Tell each transition; confirm by hand what wants to be; return when every task is over."""
        confirmed: set[str] = set()
        with self._screen.following():
            async for _ in self._ticks(SETTLE_TIMEOUT_S, "not every task came to its end"):
                rows = {one.address: await reader.task(Address(one.address)) for one in published}
                self._screen.progress(published, rows)
                for row in filter(None, rows.values()):
                    if row.state is TaskState.RESPONDED and row.address not in confirmed:
                        confirmed.add(row.address)
                        self._screen.say(f"{short(row.address)}: the client confirms the response")
                        await self._client.call("confirm", response=row.response)
                if all(row is not None and row.state.over for row in rows.values()):
                    return

    async def _judge(self, reader: SqliteReader, one: Published) -> Outcome:
        task = await reader.task(Address(one.address))
        assert task is not None
        intents = {row.intent.effect: row for row in await reader.intents_of(task.address)}
        outcome = Outcome(
            one,
            task,
            intents.get(Effect.ATTEMPT),
            intents.get(Effect.SUBMIT_RESPONSE),
            await self._seconds(task),
            [],
        )
        order = one.order
        if task.state is not order.expect or (order.code and task.code != order.code):
            wanted = f"{order.expect} {order.code}".strip()
            outcome.problems.append(f"ended {task.state} {task.code}, expected {wanted}: {task.reason}")
        elif task.state is TaskState.SETTLED:
            outcome.problems += await self._paid(task, order)
        return outcome

    async def _paid(self, task: Task, order: scenario.Order) -> list[str]:
        """The SDK's view of a paid task, and its payload from the gateway."""
        view = await self._client.call("task", address=task.address)
        if view["status"] != "FINALIZED":
            return [f"the SDK reads {view['status']}"]
        if view["winner"] != accounts.role("provider").address:
            return [f"the SDK reads {view['winner']} as the winner"]
        problem = order.check(view["payload"])
        return [problem] if problem else []

    async def _seconds(self, task: Task) -> float | None:
        if task.finalized_block is None:
            return None
        async with JsonRpc(self._network.node.rpc_url) as rpc:
            blocks = [
                await rpc.call("eth_getBlockByNumber", hex(number), False)
                for number in (task.seen_block, task.finalized_block)
            ]
        return float(int(blocks[1]["timestamp"], 16) - int(blocks[0]["timestamp"], 16))

    async def _ticks(self, timeout: float, complaint: str) -> AsyncIterator[None]:
        give_up = time.monotonic() + timeout
        while time.monotonic() < give_up:
            self._daemon.check()
            yield
            await asyncio.sleep(TICK_S)
        raise DevnetError(f"{complaint} within {timeout:.0f} s; its log ends: {_tail(self._daemon.log)}")


def _tail(path: Path, size: int = 2000) -> str:
    return path.read_text(errors="replace")[-size:]
