"""Nexus and Source: publishing, registering, leaving, and the pages of lists."""

from typing import Any

import pytest

from ogpu_provider.devnet.accounts import role
from ogpu_provider.devnet.deployment import COIN

pytestmark = pytest.mark.devnet
CPU, NVIDIA, AMD = 1, 2, 4
ZERO = "0x" + "0" * 40
PANIC = "panic: array out-of-bounds access (0x32)"


async def test_a_source_is_published_counted_and_listed(network: Any) -> None:
    first, second, third = [await network.source() for _ in range(3)]
    assert await network.ask("Nexus", "getSourceCount") == 3
    assert await network.ask("Nexus", "getSources", 1, 2) == (second, third)
    assert await network.ask("Nexus", "getSourceId", third) == 2
    assert await network.ask("Nexus", "getActiveSourceCount", network.client.address) == 3
    assert await network.ask("Nexus", "sourcesOf", network.client.address, 0) == first
    assert await network.ask("Nexus", "clients", 0) == network.client.address
    assert await network.of("Source", first, "owner") == network.client.address
    params = await network.of("Source", first, "getSourceParams")
    assert params == await network.of("Source", first, "sourceParams")
    assert params[9] == pytest.approx(await network.now(), abs=5)  # stamped by the chain


async def test_a_source_is_its_clients(network: Any) -> None:
    from_other = {"client": role("client2").address}
    with network.refused("NotOwner"):
        await network.source(**from_other)
    with network.refused("EnvironmentNotSupported"):
        await network.source(environments=0)
    with network.refused("EnvironmentNotSupported"):
        await network.source(environments=8)
    source = await network.source()
    with network.refused("NotOwner"):
        await network.act(role("client2"), "Nexus", "inactivateSource", source)
    await network.act(network.client, "Terminal", "setAgent", network.agent.address, True)
    await network.act(network.agent, "Nexus", "inactivateSource", source)
    assert await network.of("Source", source, "getStatus") == 1


async def test_terms_change_through_the_nexus_with_an_event(network: Any) -> None:
    source = await network.source()
    params = list(await network.of("Source", source, "getSourceParams"))
    params[1] = "http://metadata.example/new.json"
    receipt = await network.act(network.client, "Nexus", "updateSource", source, tuple(params))
    (event,) = network.events(receipt, "SourceUpdated")
    assert event["sourceParams"][1] == "http://metadata.example/new.json"
    params[0] = role("client2").address
    with network.refused("NotOwner"):
        await network.act(network.client, "Nexus", "updateSource", source, tuple(params))


@pytest.mark.parametrize("direct", [True, False])
async def test_inactivation_is_one_way_however_it_is_asked_for(network: Any, direct: bool) -> None:
    from ogpu_provider.devnet.transactions import transact

    source = await network.source()
    if direct:
        receipt = await transact(network.rpc, network.client, source, "Source", "setStatus", 1)
    else:
        receipt = await network.act(network.client, "Nexus", "inactivateSource", source)
    assert network.events(receipt, "SourceStatusChanged") == [{"source": source, "status": 1}]
    assert await network.ask("Nexus", "getActiveSourceCount", network.client.address) == 0
    with network.refused("SourceInactive"):
        await transact(network.rpc, network.client, source, "Source", "setStatus", 0)
    with network.refused("SourceInactive"):
        await network.act(network.client, "Nexus", "inactivateSource", source)
    with network.refused("NotOwner"):
        await transact(network.rpc, network.agent, source, "Source", "setStatus", 1)
    await network.deposit(network.client, COIN)
    with network.refused("SourceInactive"):
        await network.task(source)
    _, provider = await network.pair()
    with network.refused("SourceInactive"):
        await network.register(source, provider)


@pytest.mark.parametrize("actor", ["provider", "master", "agent"])
async def test_provider_master_and_agent_may_register_and_unregister(network: Any, actor: str) -> None:
    _, provider = await network.pair()
    source = await network.source()
    who = getattr(network, actor)
    receipt = await network.act(who, "Nexus", "register", source, provider.address, NVIDIA)
    assert network.events(receipt, "Registered") == [
        {
            "provider": provider.address,
            "registrantId": 0,
            "source": source,
            "preferredEnvironment": NVIDIA,
        }
    ]
    assert await network.of("Source", source, "preferredEnvironmentOf", provider.address) == NVIDIA
    receipt = await network.act(who, "Nexus", "unregister", source, provider.address)
    assert receipt["logs"] == []  # the network has no such event
    assert await network.of("Source", source, "preferredEnvironmentOf", provider.address) == 0


async def test_nobody_else_may_register_a_provider(network: Any) -> None:
    _, provider = await network.pair()
    source = await network.source()
    for stranger in (network.client, role("master2")):
        with network.refused("NotMaster"):
            await network.act(stranger, "Nexus", "register", source, provider.address, CPU)
    await network.act(network.master, "Terminal", "setAgent", network.agent.address, False)
    with network.refused("NotMaster"):
        await network.act(network.agent, "Nexus", "register", source, provider.address, CPU)
    with network.refused("NotProvider"):
        await network.register(source, role("provider2"))
    with network.refused("NotProvider"):
        await network.act(network.client, "Nexus", "unregister", source, provider.address)


@pytest.mark.parametrize("environment", [0, AMD, CPU | NVIDIA, 8])
async def test_one_environment_of_the_source_per_registration(network: Any, environment: int) -> None:
    _, provider = await network.pair()
    source = await network.source(environments=CPU | NVIDIA)
    with network.refused("EnvironmentNotSupported"):
        await network.register(source, provider, environment)


async def test_registering_twice_or_to_nothing_is_refused(network: Any) -> None:
    _, provider = await network.pair()
    source = await network.source()
    await network.register(source, provider)
    with network.refused("AlreadyRegistered"):
        await network.register(source, provider)
    with network.refused("UnknownSource"):
        await network.register(network.client.address, provider)
    await network.act(provider, "Nexus", "unregister", source, provider.address)
    with network.refused("NotRegistered"):
        await network.act(provider, "Nexus", "unregister", source, provider.address)


async def test_the_networks_and_the_sources_lockup_are_checked(network: Any) -> None:
    minimum = await network.ask("Vault", "MIN_LOCKUP_PER_SOURCE")
    _, provider = await network.pair(lockup=minimum - 1)
    source, demanding = await network.source(), await network.source(min_lockup=minimum + 1)
    assert not await network.ask("Vault", "isEligible", provider.address)
    with network.refused("InsufficientLockup"):
        await network.register(source, provider)
    await network.act(network.master, "Terminal", "announceProvider", provider.address, 1, value=1)
    assert await network.ask("Vault", "isEligible", provider.address)
    await network.register(source, provider)
    with network.refused("InsufficientLockup"):
        await network.register(demanding, provider)
    await network.act(network.judge, "Vault", "setWhitelist", provider.address, True)
    await network.register(demanding, provider)


async def test_leaving_leaves_a_hole_and_coming_back_takes_a_new_place(network: Any) -> None:
    _, first = await network.pair()
    _, second = await network.pair(2)
    source = await network.source()
    await network.register(source, first)
    await network.register(source, second)
    await network.act(first, "Nexus", "unregister", source, first.address)
    assert await network.of("Source", source, "getRegistrants", 0, 1) == (ZERO, second.address)
    await network.register(source, first)
    assert await network.of("Source", source, "getRegistrantCount") == 3
    assert await network.of("Source", source, "getRegistrantId", first.address) == 2


async def test_pages_are_inclusive_and_panic_past_the_end(network: Any) -> None:
    await network.deposit(network.client, 10 * COIN)
    pairs = [await network.pair(number) for number in (1, 2)]
    source = await network.source()
    tasks = tuple([await network.task(source) for _ in range(3)])
    for _, provider in pairs:
        await network.register(source, provider)
        await network.attempt(tasks[0], provider)
    assert await network.of("Source", source, "getTasks", 0, 2) == tasks
    for bounds in ((0, 3), (1, 2), (2, 2)):  # lower > 0 panics on a Source, as on the public network
        with network.refused(PANIC):
            await network.of("Source", source, "getTasks", *bounds)
    with network.refused(PANIC):
        await network.of("Source", source, "getRegistrants", 1, 1)
    addresses = tuple(provider.address for _, provider in pairs)
    assert await network.of("Task", tasks[0], "getAttempters", 0, 1) == addresses
    assert await network.of("Task", tasks[0], "getAttempters", 1, 1) == addresses[1:]
    assert len(await network.of("Task", tasks[0], "getAttemptTimestamps", 1, 1)) == 1
    for getter in ("getAttempters", "getAttemptTimestamps", "getResponsesOf"):
        with network.refused(PANIC):
            await network.of("Task", tasks[0], getter, 0, 2)
    with network.refused(PANIC):
        await network.ask("Nexus", "getSources", 0, 1)
