"""Run as a program: the public SDK, unmodified, as the local network's client. Prints what it saw as one JSON object.

Needs RPC_URL and the SDK's own CLIENT_, MASTER_, PROVIDER_ and AGENT_PRIVATE_KEY in its environment. It is a program of
its own because the SDK keeps chain, connection and nonces in globals of the process.
"""

import json
import os
import time
from typing import Any

from eth_account import Account
from ogpu.chain.config import ChainConfig, ChainId
from ogpu.chain.web3 import WEB3
from ogpu.protocol import Task, controller, nexus, terminal, vault
from ogpu.protocol._base import TxExecutor, load_contract
from ogpu.protocol.response import Response
from ogpu.protocol.source import Source
from ogpu.types.errors import OGPUError
from ogpu.types.metadata import SourceParams, TaskParams

KEYS = {name: os.environ[f"{name}_PRIVATE_KEY"] for name in ("CLIENT", "MASTER", "PROVIDER", "AGENT")}
ADDRESSES = {name: Account.from_key(key).address for name, key in KEYS.items()}
COIN = 10**18


def refusal(call: Any) -> str:
    """The SDK's own name for a refusal."""
    try:
        call()
    except OGPUError as error:
        return type(error).__name__
    return "accepted"


def publish_source(delivery: int) -> Source:
    params = SourceParams(
        client=ADDRESSES["CLIENT"],
        imageMetadataUrl="http://metadata.example/source.json",
        imageEnvironments=1,
        minPayment=1,
        minAvailableLockup=0,
        maxExpiryDuration=3600,
        privacyEnabled=False,
        optionalParamsUrl="",
        deliveryMethod=delivery,
    )
    return Source(nexus.extract_source_address(nexus.publish_source(params)))


def publish_task(source: Source, payment: int = COIN) -> Task:
    terms = TaskParams(
        source=source.address,
        config="http://config.example/task.json",
        expiryTime=int(time.time()) + 600,
        payment=payment,
    )
    return Task(controller.extract_task_address(controller.publish_task(terms)))


def answer(task: Task, data: str) -> Response:
    """Attempts through the agent and submits with the provider's key, which the SDK itself no longer does."""
    provider = ADDRESSES["PROVIDER"]
    nexus.attempt(task.address, provider, COIN, signer=KEYS["AGENT"])
    signer = Account.from_key(KEYS["PROVIDER"])
    params = (task.address, provider, data, COIN)
    TxExecutor(load_contract("NexusAbi"), "submitResponse", (params,), signer=signer).execute()
    response = task.get_response_of(provider)
    assert response is not None
    return response


def pairing() -> dict[str, Any]:
    terminal.announce_provider(ADDRESSES["PROVIDER"], 500 * COIN)
    terminal.announce_master(ADDRESSES["MASTER"])
    terminal.set_agent(ADDRESSES["AGENT"], True, signer=KEYS["MASTER"])
    return {
        "master_of": terminal.get_master_of(ADDRESSES["PROVIDER"]) == ADDRESSES["MASTER"],
        "agent": terminal.is_agent_of(ADDRESSES["MASTER"], ADDRESSES["AGENT"]),
        "eligible": vault.is_eligible(ADDRESSES["PROVIDER"]),
    }


def money() -> dict[str, Any]:
    key, address = KEYS["CLIENT"], ADDRESSES["CLIENT"]
    vault.deposit(address, 20 * COIN, signer=key)
    vault.lock(5 * COIN, signer=key)
    too_much = refusal(lambda: vault.withdraw(16 * COIN, signer=key))
    vault.unbond(5 * COIN, signer=key)
    early = refusal(lambda: vault.claim(signer=key))
    WEB3().provider.make_request("evm_increaseTime", [vault.get_unbonding_period()])
    time.sleep(0.5)
    vault.claim(signer=key)
    vault.withdraw(COIN, signer=key)
    WEB3().provider.make_request("evm_increaseTime", [-vault.get_unbonding_period()])
    return {"too_much": too_much, "early": early, "balance": vault.get_balance_of(address) // COIN}


def manual_task() -> dict[str, Any]:
    source = publish_source(0)
    nexus.register(source.address, ADDRESSES["PROVIDER"], 1, signer=KEYS["AGENT"])
    canceled, task = publish_task(source), publish_task(source)
    canceled.cancel()
    response = answer(task, "http://results.example/1.json")
    before = task.get_status().name
    response.confirm()
    return {
        "canceled": canceled.get_status().name,
        "cancel_again": refusal(lambda: task.cancel()),
        "before": before,
        "after": task.get_status().name,
        "confirmed": response.is_confirmed(),
        "confirm_again": refusal(lambda: response.confirm()),
        "winner": task.get_winning_provider() == ADDRESSES["PROVIDER"],
        "registrants": source.get_registrants() == [ADDRESSES["PROVIDER"]],
        "tasks": [each.address for each in source.get_tasks()] == [canceled.address, task.address],
        "last_task": [each.address for each in source.get_tasks(lower=1)] == [task.address],
    }


def first_response_task() -> dict[str, Any]:
    source = publish_source(1)
    nexus.register(source.address, ADDRESSES["PROVIDER"], 1)
    task = publish_task(source, payment=2 * COIN)
    new = task.snapshot().status.name
    answer(task, "http://results.example/2.json")
    confirmed = task.get_confirmed_response()
    source.inactivate()
    return {
        "new": new,
        "status": task.get_status().name,
        "attempters": task.get_attempters() == [ADDRESSES["PROVIDER"]],
        "data": confirmed.get_data() if confirmed else None,
        "inactive": refusal(lambda: publish_task(source)),
        "source_status": source.snapshot().status.name,
    }


def start() -> None:
    ChainConfig.set_chain(ChainId.OGPU_TESTNET)
    ChainConfig.set_rpc(os.environ["RPC_URL"])


def main() -> None:
    start()
    seen: dict[str, Any] = {"pairing": pairing(), "money": money()}
    seen |= {"manual": manual_task(), "first": first_response_task()}
    seen["earnings"] = vault.get_total_earnings_of(ADDRESSES["MASTER"]) // COIN
    seen["frozen"] = vault.get_frozen_payment(ADDRESSES["CLIENT"])
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
