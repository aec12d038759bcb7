"""Every fault of an endpoint x every RPC method that the provider calls, over HTTP and websocket: a call gets the true
answer or none, a second endpoint gives it, and what was cut off finds its way back by itself.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.domain.errors import ChainError
from tests.faults.host import Host, a_network, auditor_of, pool_of, socket_url
from tests.faults.lies import NEWS, OUTAGES, Fault
from tests.faults.methods import BESIDE, METHODS, SUBSCRIBE, said, samples, used
from tests.faults.plan import WHOLE, Plan
from tests.faults.proxy import Proxy
from tests.integration.devnet.conftest import Network
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(900)]
RECOVERS_S = 120.0
STRIKES_S = 300.0
ON_CONNECTION = ("eth_chainId", "eth_getCode", SUBSCRIBE)
BY_ITSELF = {*ON_CONNECTION, "eth_sendRawTransaction"}
ALONE = [fault for fault in OUTAGES if fault is not Fault.WRONG_CHAIN] + [Fault.LAG, Fault.ALTERNATE]
"""What one endpoint may do to a daemon that has no other: another network ends it, and lies go unnoticed."""


def test_every_method_that_the_code_calls_is_in_the_matrix() -> None:
    assert used() == {*METHODS, NEWS, *BESIDE}


Ends = tuple[tuple[str, str], tuple[str, str]]


def ends_of(network: Network, proxy: Proxy, transport: str) -> Ends:
    """The faulty endpoint and the honest one."""
    if transport == "http":
        return (proxy.url, ""), (network.url, "")
    return ("", proxy.ws_url), ("", socket_url(network))


@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_every_outage_on_every_method_is_the_true_answer_or_none(tmp_path: Path, transport: str) -> None:
    methods = [method for method in METHODS if method != SUBSCRIBE or transport == "websocket"]
    async with a_network(tmp_path) as network:
        asked = await samples(network)
        async with pool_of(("", socket_url(network))) as honest:
            truth = {method: await said(honest, method, asked[method]) for method in methods}
        async with AsyncExitStack() as stack:
            proxies = {
                fault: await stack.enter_async_context(Proxy(network.url, seed=number))
                for number, fault in enumerate(OUTAGES)
            }
            async with asyncio.TaskGroup() as group:
                for fault, proxy in proxies.items():
                    ends = ends_of(network, proxy, transport)
                    group.create_task(_goes_through(fault, proxy, ends, asked, truth), name=fault)
    assert len(truth) == len(methods)


async def _goes_through(
    fault: Fault, proxy: Proxy, ends: Ends, asked: dict[str, tuple[Any, ...]], truth: dict[str, Any]
) -> None:
    for method in truth:
        aim = () if fault in WHOLE else (method,)
        patience = 0.5 if fault is Fault.HANG else 10.0
        async with pool_of(ends[0], timeout=patience) as alone, pool_of(*ends, timeout=10.0) as pair:
            await proxy.arm(fault, *aim)
            try:
                assert await said(alone, method, asked[method]) == truth[method], (fault, method)
            except ChainError:
                assert fault is not Fault.SLOW, method
            assert await said(pair, method, asked[method]) == truth[method], (fault, method)
            await proxy.disarm()
            await _recovers(alone, method, asked[method], truth[method])
        hit = any(proxy.struck[fault, one] for one in (method, "eth_chainId"))
        assert hit or fault is Fault.REFUSE, (fault, method)


async def _recovers(pool: RpcPool, method: str, params: tuple[Any, ...], truth: Any) -> None:
    async with asyncio.timeout(RECOVERS_S):
        while True:
            try:
                assert await said(pool, method, params) == truth
            except ChainError:
                await asyncio.sleep(0.05)
            else:
                return


@asynccontextmanager
async def working(network: Network, host: Host) -> AsyncIterator[list[str]]:
    """Tasks are published and attempted all the while; their addresses."""
    source = await network.source()
    await network.register(source, network.provider)
    tasks: list[str] = []

    enough = asyncio.Event()

    async def publish() -> None:
        while not enough.is_set():
            tasks.append(await network.task(source))
            await host.attempt(tasks[-1])
            await asyncio.sleep(0.2)

    async with host.running():
        await host.caught_up()
        publishing = asyncio.create_task(publish())
        yield tasks
        enough.set()
        await publishing
        async with asyncio.timeout(180):
            while len(host.attempted()) < len(tasks) or await host.store.open_intents():
                await asyncio.sleep(0.1)
        await host.caught_up()
        assert sorted(host.attempted()) == sorted(tasks)


@pytest.mark.parametrize("number", [1, 2], ids=["alone", "beside an honest one"])
async def test_a_working_provider_is_struck_by_every_fault_on_every_method(tmp_path: Path, number: int) -> None:
    plans = _plans(number)
    async with (
        a_network(tmp_path, block_time=0.1) as network,
        auditor_of(network) as auditor,
        Proxy(network.url, seed=number) as proxy,
        pool_of(*[(proxy.url, proxy.ws_url), (network.url, socket_url(network))][:number]) as pool,
    ):
        host, asked = Host(pool, network), await samples(network)
        async with working(network, host) as tasks:
            for proxy.plan in plans:
                async with asyncio.timeout(STRIKES_S):
                    while proxy.plan.left:
                        await _stir(pool, proxy, proxy.plan, asked)
            for fault in WHOLE[:number]:  # the only endpoint on another network ends a daemon, and should
                await proxy.arm(fault)
                await until(partial(_is_out, pool), 120, f"{fault} to strike")
                await proxy.disarm()
        verdict = await auditor.verdict(unanswered=tasks)
    assert verdict.broken == {}
    assert sorted(verdict.attempts) == sorted(task.lower() for task in tasks)
    assert host.undone == 0
    assert set(proxy.asked) <= set(METHODS)
    cases = {case for plan in plans for case in plan.asked}
    assert {case for plan in plans for case in plan.struck} == cases
    assert {case for case, times in proxy.struck.items() if times} >= cases
    print(f"{len(cases)} cases, each of which struck, {len(tasks)} tasks, {len(host.denied)} facts denied")


def _plans(number: int) -> list[Plan]:
    """Alone the complaints last, as the daemon then asks seldom; beside another endpoint, lies too."""
    apart = {*WHOLE, Fault.BUSY}
    if number == 1:
        return [Plan([fault for fault in ALONE if fault not in apart], number), Plan([Fault.BUSY], number)]
    return [Plan([fault for fault in Fault if fault not in apart], number)]


async def _stir(pool: RpcPool, proxy: Proxy, plan: Plan, asked: dict[str, tuple[Any, ...]]) -> None:
    """What a provider calls seldom: as commands do through its endpoints, and as it does on a new connection."""
    waiting = {method for _, method in plan.left}
    commands = sorted(waiting & set(asked) - BY_ITSELF - ({"eth_getLogs"} if not plan.hurried else set()))
    if plan.hurried:
        await asyncio.gather(*(said(pool, method, asked[method]) for method in commands), return_exceptions=True)
    else:
        for method in commands:
            with suppress(ChainError):
                await said(pool, method, asked[method])
    if waiting & {*ON_CONNECTION}:
        proxy.cut()
    await asyncio.sleep(0.1)


async def _is_out(pool: RpcPool) -> bool:
    return not pool.health()[0].healthy
