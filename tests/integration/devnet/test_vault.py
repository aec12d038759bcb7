"""Vault: deposit, lock, unbond, claim, withdraw, and what the judge may do."""

from typing import Any

import pytest

from ogpu_provider.devnet.deployment import COIN

pytestmark = pytest.mark.devnet


async def amounts(network: Any, account: Any) -> tuple[int, int, int]:
    """Balance, lockup, unbonding."""
    return (
        await network.ask("Vault", "getBalanceOf", account.address),
        await network.ask("Vault", "getLockupOf", account.address),
        await network.ask("Vault", "unbondingOf", account.address),
    )


async def test_money_goes_round(network: Any) -> None:
    owner = network.provider
    await network.act(network.master, "Vault", "deposit", owner.address, value=10)
    assert await amounts(network, owner) == (10, 0, 0)
    await network.act(owner, "Vault", "lock", 8)
    await network.act(owner, "Vault", "unbond", 5)
    assert await amounts(network, owner) == (2, 3, 5)
    period = await network.ask("Vault", "UNBONDING_PERIOD")
    matures = await network.ask("Vault", "unbondingTimestamp", owner.address)
    assert matures == await network.now() + period
    with network.refused("UnbondingNotElapsed"):
        await network.act(owner, "Vault", "claim")
    await network.pass_time(period)
    receipt = await network.act(owner, "Vault", "claim")
    assert network.events(receipt, "Claimed", "Vault")[0]["amount"] == 5
    assert await amounts(network, owner) == (7, 3, 0)
    before = int(await network.rpc.call("eth_getBalance", network.deployment.vault, "latest"), 16)
    await network.act(owner, "Vault", "withdraw", 7)
    after = int(await network.rpc.call("eth_getBalance", network.deployment.vault, "latest"), 16)
    assert (before, after) == (10, 3)
    assert await amounts(network, owner) == (0, 3, 0)


async def test_nobody_spends_what_is_not_there(network: Any) -> None:
    owner = network.provider
    await network.deposit(owner, 10)
    for function, reason in (("withdraw", "InsufficientBalance"), ("lock", "InsufficientBalance")):
        with network.refused(reason):
            await network.act(owner, "Vault", function, 11)
    with network.refused("InsufficientLockup"):
        await network.act(owner, "Vault", "unbond", 1)
    with network.refused("NothingUnbonding"):
        await network.act(owner, "Vault", "claim")


async def test_unbonding_more_starts_the_clock_again_and_can_be_canceled(network: Any) -> None:
    owner = network.provider
    await network.deposit(owner, 10)
    await network.act(owner, "Vault", "lock", 10)
    await network.act(owner, "Vault", "unbond", 4)
    first = await network.ask("Vault", "unbondingTimestamp", owner.address)
    await network.pass_time(30)
    await network.act(owner, "Vault", "unbond", 4)
    assert await network.ask("Vault", "unbondingTimestamp", owner.address) >= first + 30
    await network.act(owner, "Vault", "cancelUnbonding")
    assert await amounts(network, owner) == (0, 10, 0)


async def test_the_judge_sanctions_waives_and_withdraws(network: Any) -> None:
    _, provider = await network.pair(lockup=100 * COIN)
    with network.refused("NotAuthorized"):
        await network.act(provider, "Vault", "sanction", provider.address, 1)
    await network.act(network.judge, "Vault", "sanction", provider.address, 60 * COIN)
    assert await network.ask("Vault", "sanctionOf", provider.address) == 60 * COIN
    assert await network.ask("Vault", "sanctionedAmount") == 60 * COIN
    assert not await network.ask("Vault", "isEligible", provider.address)
    await network.act(network.judge, "Vault", "waive", provider.address, 10 * COIN)
    assert await network.ask("Vault", "lockupOf", provider.address) == 50 * COIN
    await network.act(network.judge, "Vault", "withdrawSanctionOf", provider.address)
    assert await network.ask("Vault", "sanctionedAmount") == 0
    held = int(await network.rpc.call("eth_getBalance", network.deployment.vault, "latest"), 16)
    assert held == 50 * COIN


async def test_an_emergency_exit_pays_everything_out(network: Any) -> None:
    owner = network.provider
    await network.deposit(owner, 10)
    await network.act(owner, "Vault", "lock", 6)
    await network.act(owner, "Vault", "unbond", 2)
    await network.act(network.judge, "Vault", "emergencyExit", owner.address)
    assert await amounts(network, owner) == (0, 0, 0)
    assert int(await network.rpc.call("eth_getBalance", network.deployment.vault, "latest"), 16) == 0


async def test_the_admin_sets_the_rules(network: Any) -> None:
    with network.refused("NotAuthorized"):
        await network.act(network.provider, "Vault", "setMinLockupPerSource", 1)
    await network.act(network.judge, "Vault", "setMinLockupPerSource", 1)
    await network.act(network.judge, "Vault", "setMaxUnbondingPeriod", 2)
    assert await network.ask("Vault", "MIN_LOCKUP_PER_SOURCE") == 1
    assert await network.ask("Vault", "UNBONDING_PERIOD") == 2
