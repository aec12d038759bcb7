"""Controller and Nexus: a task from its publication to its end, and the money that moves with it."""

from typing import Any

import pytest
from eth_utils.crypto import keccak

from ogpu_provider.devnet.abi import artifact
from ogpu_provider.devnet.accounts import role
from ogpu_provider.devnet.deployment import COIN

pytestmark = pytest.mark.devnet
MANUAL, FIRST = 0, 1
NEW, ATTEMPTED, RESPONDED, CANCELED, EXPIRED, FINALIZED = range(6)
ZERO = "0x" + "0" * 40


async def ready(network: Any, delivery: int = FIRST) -> tuple[str, Any]:
    """A funded client, a source, and one provider registered to it."""
    _, provider = await network.pair()
    await network.deposit(network.client, 10 * COIN)
    source = await network.source(delivery=delivery)
    await network.register(source, provider)
    return source, provider


async def test_publishing_freezes_the_payment_from_the_vault_balance(network: Any) -> None:
    source = await network.source()
    with network.refused("InsufficientBalance"):
        await network.task(source)
    await network.deposit(network.client, 3 * COIN)
    task = await network.task(source, payment=2 * COIN)
    assert await network.balance(network.client) == COIN
    assert await network.ask("Vault", "frozenPayment", network.client.address) == 2 * COIN
    assert await network.status(task) == NEW
    assert await network.of("Task", task, "getPayment") == 2 * COIN
    assert await network.of("Task", task, "getSource") == source
    assert await network.of("Task", task, "owner") == network.client.address
    assert await network.of("Source", source, "getTaskCount") == 1


async def test_a_task_keeps_to_its_sources_terms(network: Any) -> None:
    await network.deposit(network.client, 10 * COIN)
    source = await network.source(min_payment=COIN, max_expiry=600)
    with network.refused("PaymentTooLow"):
        await network.task(source, payment=COIN - 1)
    with network.refused("ExpiryTooFar"):
        await network.task(source, lasts=700)
    with network.refused("Expired"):
        await network.task(source, lasts=-1)
    with network.refused("revert"):
        await network.task(role("client2").address)


async def test_only_a_new_task_can_be_canceled_and_only_by_its_client(network: Any) -> None:
    source, provider = await ready(network)
    task, other = await network.task(source), await network.task(source)
    with network.refused("NotOwner"):
        await network.act(role("client2"), "Controller", "cancelTask", task)
    receipt = await network.act(network.client, "Controller", "cancelTask", task)
    assert network.events(receipt, "TaskStatusChanged") == [{"task": task, "status": CANCELED}]
    assert await network.balance(network.client) == 9 * COIN
    with network.refused("Canceled"):
        await network.attempt(task, provider)
    with network.refused("AlreadyFinalized"):
        await network.act(network.client, "Controller", "cancelTask", task)
    await network.attempt(other, provider)
    with network.refused("AlreadyFinalized"):
        await network.act(network.client, "Controller", "cancelTask", other)


@pytest.mark.parametrize("actor", ["provider", "master", "agent"])
async def test_provider_master_and_agent_may_attempt(network: Any, actor: str) -> None:
    source, provider = await ready(network)
    task = await network.task(source)
    receipt = await network.attempt(task, provider, by=getattr(network, actor))
    assert network.events(receipt, "Attempted") == [
        {"task": task, "provider": provider.address, "suggestedPayment": COIN}
    ]
    assert network.events(receipt, "TaskStatusChanged") == [{"task": task, "status": ATTEMPTED}]


async def test_an_attempt_needs_a_registration_and_happens_once(network: Any) -> None:
    source, provider = await ready(network)
    task = await network.task(source)
    _, stranger = await network.pair(2)
    with network.refused("NotRegistered"):
        await network.attempt(task, stranger)
    with network.refused("NotMaster"):
        await network.attempt(task, provider, by=stranger)
    await network.attempt(task, provider)
    with network.refused("AlreadyAttempted"):
        await network.attempt(task, provider)
    with network.refused("UnknownTask"):
        await network.attempt(source, provider)


async def test_an_attempt_keeps_nobody_out(network: Any) -> None:
    source, provider = await ready(network)
    _, rival = await network.pair(2)
    await network.register(source, rival)
    task = await network.task(source)
    await network.attempt(task, provider)
    receipt = await network.attempt(task, rival)
    assert network.events(receipt, "TaskStatusChanged") == []
    assert await network.of("Task", task, "getAttemptCount") == 2
    assert await network.of("Task", task, "getAttempterId", rival.address) == 1
    await network.submit(task, rival)
    assert await network.of("Task", task, "winningProvider") == rival.address


async def test_the_first_response_is_confirmed_paid_to_the_master_and_final(network: Any) -> None:
    source, provider = await ready(network)
    _, rival = await network.pair(2)
    await network.register(source, rival)
    task = await network.task(source, payment=2 * COIN)
    await network.attempt(task, provider)
    await network.attempt(task, rival)
    receipt = await network.submit(task, provider, payment=COIN)  # asks for less: the winner gets all of it
    (submitted,) = network.events(receipt, "ResponseSubmitted")
    response = submitted["response"]
    assert [event["status"] for event in network.events(receipt, "TaskStatusChanged")] == [RESPONDED, FINALIZED]
    assert network.events(receipt, "ResponseStatusChanged") == [{"response": response, "status": 1}]
    assert await network.status(task) == FINALIZED
    assert await network.of("Response", response, "confirmedFinal")
    assert await network.of("Response", response, "getStatus") == 1
    assert await network.of("Response", response, "responseTimestamp") == pytest.approx(await network.now(), abs=5)
    assert await network.balance(network.master) == 2 * COIN
    assert await network.ask("Vault", "totalEarningsOf", network.master.address) == 2 * COIN
    assert await network.ask("Vault", "totalEarningsOf", provider.address) == 0
    assert await network.ask("Vault", "frozenPayment", network.client.address) == 0
    assert await network.of("Task", task, "getResponsesOf", 0, 1) == (response, ZERO)
    with network.refused("AlreadyFinalized"):
        await network.submit(task, rival)
    with network.refused("AlreadyFinalized"):
        await network.attempt(task, provider)
    with network.refused("AlreadyConfirmed"):
        await network.act(network.client, "Controller", "confirmResponse", response)


async def test_a_response_is_the_providers_own_and_needs_an_attempt(network: Any) -> None:
    source, provider = await ready(network)
    task = await network.task(source)
    with network.refused("NotAttempted"):
        await network.submit(task, provider)
    await network.attempt(task, provider)
    for other in (network.master, network.agent):
        with network.refused("NotProvider"):
            await network.submit(task, provider, by=other)
    with network.refused("PaymentTooHigh"):
        await network.submit(task, provider, payment=COIN + 1)


async def test_the_client_chooses_among_manual_responses(network: Any) -> None:
    source, provider = await ready(network, MANUAL)
    _, rival = await network.pair(2)
    await network.register(source, rival)
    task = await network.task(source, payment=2 * COIN)
    await network.attempt(task, provider)
    await network.attempt(task, rival)
    first = network.events(await network.submit(task, provider, 2 * COIN), "ResponseSubmitted")[0]["response"]
    assert await network.status(task) == RESPONDED
    with network.refused("AlreadySubmitted"):
        await network.submit(task, provider, data="ipfs://another")
    second = network.events(await network.submit(task, rival, COIN), "ResponseSubmitted")[0]["response"]
    with network.refused("NotOwner"):
        await network.act(role("client2"), "Controller", "confirmResponse", second)
    await network.pass_time(1000)  # past the expiry: the client may still choose, nobody may still answer
    with network.refused("Expired"):
        await network.attempt(task, provider)
    receipt = await network.act(network.client, "Controller", "confirmResponse", second)
    assert network.events(receipt, "TaskStatusChanged") == [{"task": task, "status": FINALIZED}]
    assert await network.of("Task", task, "winningProvider") == rival.address
    assert await network.balance(role("master2")) == COIN  # the bid, not the budget
    assert await network.balance(network.client) == 9 * COIN
    assert not await network.of("Response", first, "confirmedFinal")
    with network.refused("AlreadyFinalized"):
        await network.act(network.client, "Controller", "confirmResponse", first)


async def test_an_agent_of_the_client_may_confirm(network: Any) -> None:
    source, provider = await ready(network, MANUAL)
    task = await network.task(source)
    await network.attempt(task, provider)
    response = network.events(await network.submit(task, provider), "ResponseSubmitted")[0]["response"]
    await network.act(network.client, "Terminal", "setAgent", network.agent.address, True)
    await network.act(network.agent, "Controller", "confirmResponse", response)
    assert await network.status(task) == FINALIZED


async def test_two_providers_may_answer_with_the_same_data(network: Any) -> None:
    source, provider = await ready(network, MANUAL)
    _, rival = await network.pair(2)
    await network.register(source, rival)
    task = await network.task(source)
    for each in (provider, rival):
        await network.attempt(task, each)
        await network.submit(task, each, data="ipfs://same")
        preimage = bytes.fromhex(each.address[2:]) + b"ipfs://same"
        assert await network.of("Task", task, "isAlreadySubmitted", keccak(preimage))
    assert not await network.of("Task", task, "isAlreadySubmitted", keccak(b"ipfs://same"))


@pytest.mark.parametrize("attempted", [False, True])
async def test_the_next_attempt_after_expiry_only_expires_and_refunds(network: Any, attempted: bool) -> None:
    source, provider = await ready(network)
    _, rival = await network.pair(2)
    await network.register(source, rival)
    task = await network.task(source, lasts=100)
    if attempted:
        await network.attempt(task, provider)
    await network.pass_time(101)
    assert await network.status(task) == (ATTEMPTED if attempted else NEW)  # nobody told the chain yet
    if attempted:
        with network.refused("Expired"):
            await network.submit(task, provider)
    receipt = await network.attempt(task, rival)
    assert receipt["status"] == "0x1"
    assert network.events(receipt, "Attempted") == []
    assert network.events(receipt, "TaskStatusChanged") == [{"task": task, "status": EXPIRED}]
    assert await network.balance(network.client) == 10 * COIN
    assert await network.ask("Vault", "frozenPayment", network.client.address) == 0
    with network.refused("Expired"):
        await network.attempt(task, rival)


async def test_an_expired_task_nobody_attempted_can_still_be_canceled(network: Any) -> None:
    source, _ = await ready(network)
    task = await network.task(source, lasts=100)
    await network.pass_time(101)
    await network.act(network.client, "Controller", "cancelTask", task)
    assert await network.balance(network.client) == 10 * COIN


async def test_open_tasks_outlive_their_source(network: Any) -> None:
    source, provider = await ready(network)
    task = await network.task(source)
    await network.act(network.client, "Nexus", "inactivateSource", source)
    await network.attempt(task, provider)
    await network.submit(task, provider)
    assert await network.status(task) == FINALIZED


async def test_a_forged_response_cannot_be_confirmed(network: Any) -> None:
    from ogpu_provider.devnet.abi import artifact
    from ogpu_provider.devnet.transactions import send

    source, provider = await ready(network, MANUAL)
    task = await network.task(source)
    await network.attempt(task, provider)
    await network.submit(task, provider)
    creation = artifact("Response").creation((task, provider.address, "ipfs://forged", COIN))
    forged = (await send(network.rpc, provider, None, creation))["contractAddress"]
    with network.refused("UnknownResponse"):
        await network.act(network.client, "Controller", "confirmResponse", forged)


async def test_only_the_protocol_moves_statuses_and_escrow(network: Any) -> None:
    from ogpu_provider.devnet.transactions import transact

    source, provider = await ready(network)
    task = await network.task(source)
    client = network.client.address
    controllers_only: list[tuple[str, str, tuple[Any, ...]]] = [
        ("Nexus", "setTaskStatus", (task, FINALIZED)),
        ("Nexus", "setSourceStatus", (source, 1)),
        ("Nexus", "emitTaskPublished", (task, source)),
        ("Vault", "freezePayment", (client, provider.address, 1)),
        ("Vault", "releasePayment", (client, task)),
        ("Vault", "processPayment", (client, provider.address, task, COIN)),
    ]
    for contract, function, args in controllers_only:
        with network.refused("NotController"):
            await network.act(provider, contract, function, *args)
    nexus_only: list[tuple[str, str, str, tuple[Any, ...]]] = [
        ("Task", task, "setStatus", (FINALIZED,)),
        ("Task", task, "attempt", (provider.address,)),
        ("Source", source, "register", (provider.address, 1)),
        ("Source", source, "publishTask", (task,)),
    ]
    for contract, address, function, args in nexus_only:
        with network.refused("NotNexus"):
            await transact(network.rpc, provider, address, contract, function, *args)
    with network.refused("NotAuthorized"):
        await network.act(provider, "Vault", "forceReleasePayment", network.client.address, task)
    await network.act(network.judge, "Vault", "forceReleasePayment", network.client.address, task)
    assert await network.balance(network.client) == 10 * COIN


async def test_gas_estimated_while_a_task_is_open_is_enough_after_it_was_paid(network: Any) -> None:
    """The official SDK sends exactly what the node estimated; others' transactions may be mined in between."""
    source, provider = await ready(network)
    task = await network.task(source)
    await network.attempt(task, provider)
    terms = (source, "http://config.example/task.json", await network.now() + 600, COIN)
    call = {
        "from": network.client.address,
        "to": network.deployment.controller,
        "data": "0x" + artifact("Controller").encode("publishTask", terms).hex(),
    }
    estimated = int(await network.rpc.call("eth_estimateGas", call), 16)
    await network.submit(task, provider)
    receipt = await network.act(network.client, "Controller", "publishTask", terms)
    assert int(receipt["gasUsed"], 16) <= estimated
