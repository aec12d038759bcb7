"""The node takes a transaction and its answer is lost: for each kind of transaction that any part of the provider
sends. One effect each, and one nonce. (Beside it: tests/integration/devnet/test_sdk_lost_reply.py.)

A filler has no effect that could happen twice; it is planned for a nonce, not by anybody.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ogpu_provider.chain.contracts import encode_call
from ogpu_provider.chain.networks import devnet
from ogpu_provider.devnet.accounts import Account, role
from ogpu_provider.devnet.deployment import COIN
from ogpu_provider.domain.intent import Effect, Intent, IntentState
from ogpu_provider.domain.units import Address
from ogpu_provider.keys.client_policy import ClientPolicy
from ogpu_provider.keys.policy import Policy, VaultCall
from ogpu_provider.keys.signer import Rules
from tests.faults.host import Host, a_network, pool_of
from tests.faults.lies import Fault
from tests.faults.proxy import Proxy
from tests.integration.devnet.conftest import MANUAL, Network
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(600)]
SEND = "eth_sendRawTransaction"
CLIENT_EFFECTS = {Effect.PUBLISH_TASK, Effect.CANCEL_TASK, Effect.CONFIRM_RESPONSE}


@dataclass(frozen=True)
class Send:
    """A transaction of `who`: `function` of a contract with `args`.

    `about`: its subject, where that is not the account.
    """

    who: Account
    function: str
    args: tuple[object, ...] = ()
    value: int = 0
    about: str = ""


@dataclass
class Scene:
    """What is there by now to send transactions about."""

    network: Network
    source: str = ""
    manual: str = ""
    task: str = ""
    unwanted: str = ""
    response: str = ""
    expiry: int = 0

    async def opened(self) -> "Scene":
        network = self.network
        self.expiry = await network.now() + 1800
        self.source, self.manual = await network.source(), await network.source(delivery=MANUAL)
        await network.register(self.manual, network.provider)
        asked = await network.task(self.manual)
        await network.attempt(asked, network.provider)
        await network.submit(asked, network.provider)
        self.response = str(await network.of("Task", asked, "responseOf", network.provider.address))
        self.task, self.unwanted = await network.task(self.source), await network.task(self.source)
        return self


def sends(scene: Scene) -> dict[Effect, Send]:
    """In an order in which each of them works."""
    me, client, stranger = scene.network.provider, scene.network.client, role("provider3")
    terms = (scene.source, "http://config.example/new.json", scene.expiry, COIN)
    answer = (scene.task, me.address, "http://results.example/1", COIN)
    return {
        Effect.ANNOUNCE_MASTER: Send(stranger, "Terminal.announceMaster", (role("master3").address,)),
        Effect.SET_BASE_DATA: Send(me, "Terminal.setBaseData", ("http://data.example/base",)),
        Effect.SET_LIVE_DATA: Send(me, "Terminal.setLiveData", ("http://data.example/live",)),
        Effect.DEPOSIT: Send(me, "Vault.deposit", (me.address,), 3 * COIN),
        Effect.LOCK: Send(me, "Vault.lock", (2 * COIN,)),
        Effect.REGISTER: Send(me, "Nexus.register", (scene.source, me.address, 1), about=scene.source),
        Effect.PUBLISH_TASK: Send(client, "Controller.publishTask", (terms,), about=scene.source),
        Effect.ATTEMPT: Send(me, "Nexus.attempt", (scene.task, me.address, COIN), about=scene.task),
        Effect.SUBMIT_RESPONSE: Send(me, "Nexus.submitResponse", (answer,), about=scene.task),
        Effect.CANCEL_TASK: Send(client, "Controller.cancelTask", (scene.unwanted,), about=scene.unwanted),
        Effect.CONFIRM_RESPONSE: Send(client, "Controller.confirmResponse", (scene.response,), about=scene.response),
        Effect.UNREGISTER: Send(me, "Nexus.unregister", (scene.source, me.address), about=scene.source),
        Effect.UNBOND: Send(me, "Vault.unbond", (COIN,)),
        Effect.CANCEL_UNBONDING: Send(me, "Vault.cancelUnbonding"),
        Effect.CLAIM: Send(me, "Vault.claim"),
        Effect.WITHDRAW: Send(me, "Vault.withdraw", (COIN,)),
    }


async def before_claim(network: Network) -> None:
    await network.act(network.provider, "Vault", "unbond", COIN)
    await network.pass_time(120)


PREPARED: dict[Effect, Callable[[Network], Awaitable[None]]] = {Effect.CLAIM: before_claim}


async def test_each_kind_of_send_has_one_effect_though_every_answer_is_lost(tmp_path: Path) -> None:
    async with a_network(tmp_path, block_time=0.1) as network, Proxy(network.url, seed=29) as proxy:
        scene = await Scene(network).opened()
        kinds = sends(scene)
        assert set(kinds) == set(Effect) - {Effect.FILL}
        for effect, send in kinds.items():
            if effect in PREPARED:
                await PREPARED[effect](network)
            await _survives(network, proxy, effect, send)


async def _survives(network: Network, proxy: Proxy, effect: Effect, send: Send) -> None:
    there, me = devnet(network.url), Address(send.who.address)
    to = Address(getattr(there, send.function.partition(".")[0].lower()))
    data = encode_call(send.function, *send.args)
    intent = Intent(f"{there.chain_id}:{effect}:{me}", effect, Address(send.about or me), to, data, value=send.value)
    policy: Rules = Policy(
        there.chain_id,
        me,
        there.nexus,
        there.terminal,
        master=Address(role("master3").address),
        confirmed=VaultCall(to, data, send.value),
    )
    if effect in CLIENT_EFFECTS:
        policy = ClientPolicy(there.chain_id, me, there.controller)
    head = int(await network.rpc.call("eth_blockNumber"), 16)
    nonce = await _nonce(network, me)
    async with pool_of((proxy.url, proxy.ws_url), timeout=5.0) as pool:
        host = Host(pool, network, send.who, policy)
        async with host.running(head):
            struck = proxy.struck[Fault.ANSWER_LOST, SEND]
            await proxy.arm(Fault.ANSWER_LOST, SEND)
            assert await host.store.plan(intent, at=0.0)
            host.sender.wake()

            async def taken() -> bool:
                return await _nonce(network, me) > nonce

            await until(taken, 120, f"{effect} to be in a block", 0.05)
            assert proxy.struck[Fault.ANSWER_LOST, SEND] > struck
            await proxy.disarm()

            async def over() -> bool:
                row = await host.store.intent(intent.key)
                return row is not None and row.state is IntentState.CONFIRMED

            await until(over, 120, f"{effect} to be confirmed", 0.05)
            await network.rpc.call("anvil_mine", "0x3")
            await asyncio.sleep(0.2)
    assert await _nonce(network, me) == nonce + 1, effect
    assert await _carried(network, me, head) == [(to.lower(), "0x" + data.hex(), "0x1")], effect


async def _nonce(network: Network, account: str) -> int:
    return int(await network.rpc.call("eth_getTransactionCount", account, "latest"), 16)


async def _carried(network: Network, account: str, since: int) -> list[tuple[str, str, str]]:
    """Recipient, input and status of the account's transactions in the blocks after `since`."""
    found = []
    for number in range(since + 1, int(await network.rpc.call("eth_blockNumber"), 16) + 1):
        block = await network.rpc.call("eth_getBlockByNumber", hex(number), True)
        for tx in block["transactions"]:
            if tx["from"].lower() == account.lower():
                receipt = await network.rpc.call("eth_getTransactionReceipt", tx["hash"])
                found.append((tx["to"].lower(), tx["input"], receipt["status"]))
    return found
