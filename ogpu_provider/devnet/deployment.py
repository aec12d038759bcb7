"""The protocol's contracts on a local node, at the public testnet's addresses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ogpu_provider.devnet.abi import artifact
from ogpu_provider.devnet.accounts import Account, role
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.transactions import read, send, transact
from ogpu_provider.domain.errors import DevnetError

COIN = 10**18
"""Wei."""

_ADMIN_ROLE = bytes(32)
_PLAIN_SLOTS = 16
"""Storage slots a constructor may fill; mappings and arrays begin empty."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Checksummed addresses. All but the manager's are the public testnet's."""

    manager: str
    nexus: str = "0xF87bb2f3edB991a998992f14d35fE142e6Bb50b1"
    controller: str = "0x9fb6022074Fd7Bdb429de0776eb693cA0CB55E09"
    terminal: str = "0x1ea332Fc14a5AFD3AF3852B45C263Ab5b1Dd6f52"
    vault: str = "0x15905a2FbD3EF5d3532b931b5656BB9EB493Bb15"


async def deploy(rpc_url: str) -> Deployment:
    """Puts the contracts on a fresh node; on one that has them already, only checks and describes them.

    Each contract is created by an ordinary transaction, so that its real constructor runs; code and storage are then
    moved to the testnet's address by anvil's own calls. Raises DevnetError when the result is not as it should be.
    """
    async with JsonRpc(rpc_url) as rpc:
        plan = Deployment(manager="")
        if await rpc.call("eth_getCode", plan.nexus, "latest") != "0x":
            deployment = Deployment(manager=await read(rpc, plan.nexus, "Nexus", "manager"))
        else:
            deployment = await _create_all(rpc, plan)
        await _check(rpc, deployment)
        return deployment


async def pair_and_fund(
    rpc_url: str,
    deployment: Deployment,
    *,
    deposit: int = 1000 * COIN,
    lockup: int = 1000 * COIN,
    pairs: Sequence[tuple[Account, Account]] | None = None,
    agent: Account | None = None,
    client: Account | None = None,
) -> None:
    """Gives the client a Vault balance, pairs masters with providers, and lets an agent act for each master.

    Amounts are wei. `pairs` are (master, provider), by default the roles of that name; `agent` defaults to the role
    too. Pairs that exist already are left alone.
    """
    payer, agent = client or role("client"), agent or role("agent")
    async with JsonRpc(rpc_url) as rpc:
        if deposit:
            await transact(rpc, payer, deployment.vault, "Vault", "deposit", payer.address, value=deposit)
        for master, provider in pairs or [(role("master"), role("provider"))]:
            if await read(rpc, deployment.terminal, "Terminal", "masterOf", provider.address) == master.address:
                continue
            terminal = (deployment.terminal, "Terminal")
            await transact(rpc, master, *terminal, "announceProvider", provider.address, lockup, value=lockup)
            await transact(rpc, provider, *terminal, "announceMaster", master.address)
            await transact(rpc, master, *terminal, "setAgent", agent.address, True)


async def _create_all(rpc: JsonRpc, plan: Deployment) -> Deployment:
    manager = await _create(rpc, "Manager")
    made = Deployment(manager=manager)
    await _create(rpc, "Nexus", manager, made.terminal, made.vault, target=made.nexus)
    await _create(rpc, "Controller", made.nexus, made.terminal, made.vault, target=made.controller)
    await _create(rpc, "Terminal", manager, made.vault, target=made.terminal)
    await _create(rpc, "Vault", manager, made.nexus, made.terminal, target=made.vault)
    deployer = role("deployer")
    controller_role = await read(rpc, manager, "Manager", "CONTROLLER")
    judge_role = await read(rpc, manager, "Manager", "JUDGE")
    grants = [
        (controller_role, made.controller),
        (_ADMIN_ROLE, made.terminal),  # grants PROVIDER to those it pairs
        (judge_role, deployer.address),
    ]
    for granted, account in grants:
        await transact(rpc, deployer, manager, "Manager", "grantRole", granted, account)
    return made


async def _create(rpc: JsonRpc, name: str, *args: Any, target: str | None = None) -> str:
    """Creates a contract and, if asked, moves it. Returns the address it has in the end."""
    from eth_utils.address import to_checksum_address

    receipt = await send(rpc, role("deployer"), None, artifact(name).creation(*args))
    created = to_checksum_address(receipt["contractAddress"])
    if target is None:
        return created
    for slot in range(_PLAIN_SLOTS):
        word = await rpc.call("eth_getStorageAt", created, hex(slot), "latest")
        if int(word, 16):
            await rpc.call("anvil_setStorageAt", target, f"0x{slot:064x}", word)
    await rpc.call("anvil_setCode", target, await rpc.call("eth_getCode", created, "latest"))
    await rpc.call("anvil_setCode", created, "0x")
    return target


async def _check(rpc: JsonRpc, made: Deployment) -> None:
    """Every contract knows the others, and the Controller may control."""
    wiring = {
        "Nexus": (made.nexus, {"manager": made.manager, "terminal": made.terminal, "vault": made.vault}),
        "Controller": (made.controller, {"nexus": made.nexus, "terminal": made.terminal, "vault": made.vault}),
        "Terminal": (made.terminal, {"manager": made.manager, "vault": made.vault}),
        "Vault": (made.vault, {"manager": made.manager, "nexus": made.nexus, "terminal": made.terminal}),
    }
    for name, (address, others) in wiring.items():
        for function, expected in others.items():
            found = await read(rpc, address, name, function)
            if found != expected:
                raise DevnetError(f"{name}.{function}() is {found}, not {expected}", code="devnet.deployment")
    if not await read(rpc, made.nexus, "Nexus", "checkController", made.controller):
        raise DevnetError("the Controller may not control the Nexus", code="devnet.deployment")
