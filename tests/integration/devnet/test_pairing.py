"""Terminal: two announcements make a pair; what a pair may do, and what it may not."""

from typing import Any

import pytest

from ogpu_provider.devnet.accounts import role
from ogpu_provider.devnet.deployment import COIN

pytestmark = pytest.mark.devnet
ZERO = "0x" + "0" * 40


@pytest.mark.parametrize("provider_first", [True, False])
async def test_a_pair_forms_in_either_order_and_only_once_both_announced(network: Any, provider_first: bool) -> None:
    master, provider = network.master, network.provider
    halves = [
        lambda: network.act(master, "Terminal", "announceProvider", provider.address, 5, value=5),
        lambda: network.act(provider, "Terminal", "announceMaster", master.address),
    ]
    first, second = reversed(halves) if provider_first else halves
    await first()
    assert await network.ask("Terminal", "masterOf", provider.address) == ZERO
    assert await network.ask("Terminal", "isProvider", provider.address) is not provider_first
    assert await network.ask("Terminal", "isMaster", master.address) is provider_first
    await second()
    assert await network.ask("Terminal", "masterOf", provider.address) == master.address
    assert (await network.ask("Terminal", "getMasterOf", provider.address)) == master.address
    assert await network.ask("Terminal", "providerOf", master.address) == provider.address
    assert await network.ask("Terminal", "isProvider", provider.address)
    assert await network.ask("Terminal", "getIsMaster", master.address)
    role_of_providers = await network.ask("Manager", "PROVIDER")
    assert await network.ask("Manager", "hasRole", role_of_providers, provider.address)


async def test_the_announced_amount_becomes_the_providers_lockup(network: Any) -> None:
    receipt = await network.act(
        network.master, "Terminal", "announceProvider", network.provider.address, 7 * COIN, value=7 * COIN
    )
    assert await network.ask("Vault", "lockupOf", network.provider.address) == 7 * COIN
    assert await network.balance(network.provider) == 0
    assert network.events(receipt, "Locked", "Vault")[0]["amount"] == 7 * COIN
    with network.refused("AmountMismatch"):
        await network.act(network.master, "Terminal", "announceProvider", network.provider.address, 2, value=1)


async def test_pairs_are_one_to_one(network: Any) -> None:
    _, provider = await network.pair()
    await network.pair(2)
    with network.refused("AlreadyPaired"):
        await network.act(role("master3"), "Terminal", "announceProvider", provider.address, 0)
    with network.refused("AlreadyPaired"):
        await network.act(network.master, "Terminal", "announceProvider", role("provider3").address, 0)
    with network.refused("AlreadyPaired"):
        await network.act(provider, "Terminal", "announceMaster", network.master.address)
    with network.refused("AlreadyPaired"):
        await network.act(role("provider3"), "Terminal", "announceMaster", network.master.address)


async def test_a_stranger_cannot_pair_itself_with_somebody_elses_provider(network: Any) -> None:
    await network.act(network.provider, "Terminal", "announceMaster", network.master.address)
    await network.act(role("master2"), "Terminal", "announceProvider", network.provider.address, 0)
    assert await network.ask("Terminal", "masterOf", network.provider.address) == ZERO


async def test_a_removed_provider_can_neither_attempt_nor_submit_but_can_leave(network: Any) -> None:
    master, provider = await network.pair()
    await network.deposit(network.client, 10 * COIN)
    source = await network.source()
    await network.register(source, provider)
    task = await network.task(source)
    await network.attempt(task, provider)
    with network.refused("NotMaster"):
        await network.act(role("master2"), "Terminal", "removeProvider", provider.address)
    receipt = await network.act(master, "Terminal", "removeProvider", provider.address)
    assert len(network.events(receipt, "ProviderRemoved", "Terminal")) == 1
    assert await network.ask("Terminal", "masterOf", provider.address) == ZERO
    assert not await network.ask("Terminal", "isProvider", provider.address)
    with network.refused("NotProvider"):
        await network.attempt(await network.task(source), provider)
    with network.refused("NotProvider"):
        await network.submit(task, provider)
    await network.act(provider, "Nexus", "unregister", source, provider.address)
    await network.pair()
    assert await network.ask("Terminal", "isProvider", provider.address)


async def test_only_the_master_signals_a_container_removal(network: Any) -> None:
    master, provider = await network.pair()
    source = await network.source()
    receipt = await network.act(master, "Terminal", "removeContainer", provider.address, source)
    assert network.events(receipt, "RemoveContainer", "Terminal") == [{"provider": provider.address, "source": source}]
    with network.refused("NotMaster"):
        await network.act(network.agent, "Terminal", "removeContainer", provider.address, source)


async def test_masters_choose_agents_and_providers_do_not(network: Any) -> None:
    master, provider = await network.pair()
    assert await network.ask("Terminal", "isAgentOf", master.address, network.agent.address)
    assert await network.ask("Terminal", "getIsAgentOf", master.address, network.agent.address)
    await network.act(master, "Terminal", "setAgent", network.agent.address, False)
    assert not await network.ask("Terminal", "isAgentOf", master.address, network.agent.address)
    with network.refused("NotMaster"):
        await network.act(provider, "Terminal", "setAgent", network.agent.address, True)


async def test_provider_data_is_the_providers_own(network: Any) -> None:
    _, provider = await network.pair()
    await network.act(provider, "Terminal", "setBaseData", "ipfs://base")
    receipt = await network.act(provider, "Terminal", "setLiveData", "ipfs://live")
    assert await network.ask("Terminal", "baseDataOf", provider.address) == "ipfs://base"
    assert await network.ask("Terminal", "liveDataOf", provider.address) == "ipfs://live"
    assert network.events(receipt, "LiveDataUpdated", "Terminal") == [{"provider": provider.address}]
    with network.refused("NotProvider"):
        await network.act(network.client, "Terminal", "setBaseData", "ipfs://base")
    await network.act(provider, "Terminal", "setDefaultAgentDisabled", True)
    assert await network.ask("Terminal", "defaultAgentDisabled", provider.address)
