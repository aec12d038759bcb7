"""`ogpu-provider vault`: shown, confirmed, sent once; printed where the key is elsewhere."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from ogpu_provider.chain import contracts
from ogpu_provider.devnet.node import TESTNET_CHAIN_ID
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.intent import Effect, Intent, IntentState
from ogpu_provider.domain.units import COIN, Address, Wei
from ogpu_provider.environment import Secret
from ogpu_provider.onboarding.sitting import Answers
from ogpu_provider.onboarding.vault import Moved, move
from ogpu_provider.store.reader import open_readonly
from ogpu_provider.store.sqlite import SqliteStore
from tests.integration.onboarding.host import BareHost
from tests.integration.onboarding.sit import Listener, answers, sit, sitting_of

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

TASK = Address("0x" + "7A" * 20)


async def moved(host: BareHost, effect: Effect, coins: int = 0, declines: tuple[str, ...] = ()) -> Moved:
    async with AsyncExitStack() as stack:
        sitting = sitting_of(host, Answers(password=Secret("horse")), Listener(declines), stack)
        return await move(sitting, effect, "provider", Wei(coins * COIN) if coins else None)


async def refused(host: BareHost, effect: Effect, coins: int = 0, declines: tuple[str, ...] = ()) -> str:
    before = await host.nonce()
    with pytest.raises(ProviderError) as caught:
        await moved(host, effect, coins, declines)
    assert await host.nonce() == before
    return caught.value.code


async def test_the_stake_goes_round_with_the_providers_key(host: BareHost) -> None:
    await host.fund(host.provider.address, 10 * COIN)
    await host.announce()
    await sit(host, answers(host))
    assert await refused(host, Effect.LOCK, 5) == "vault.not_enough"
    assert await refused(host, Effect.DEPOSIT, 50) == "vault.not_enough"
    assert await refused(host, Effect.UNBOND, 101) == "vault.not_enough"
    assert await refused(host, Effect.WITHDRAW, 1) == "vault.not_enough"
    assert await refused(host, Effect.CLAIM) == "vault.nothing"
    assert await refused(host, Effect.DEPOSIT) == "usage.amount"
    assert await refused(host, Effect.DEPOSIT, 5, declines=("Send it?",)) == "vault.declined"
    await moved(host, Effect.DEPOSIT, 5)
    await moved(host, Effect.LOCK, 5)
    await moved(host, Effect.UNBOND, 7)
    assert await refused(host, Effect.CLAIM) == "vault.not_elapsed"
    await moved(host, Effect.CANCEL_UNBONDING)
    assert await host.ask("Vault", "lockupOf", host.provider.address) == 105 * COIN
    await moved(host, Effect.DEPOSIT, 1)
    await moved(host, Effect.WITHDRAW, 1)
    assert await host.ask("Vault", "balanceOf", host.provider.address) == 0


async def test_what_the_daemon_only_planned_is_not_sent_while_it_is_away(host: BareHost) -> None:
    await host.fund(host.provider.address, 10 * COIN)
    await host.announce()
    await sit(host, answers(host))
    chain, nexus = TESTNET_CHAIN_ID, host.network.deployment.nexus
    what = contracts.attempt(Address(nexus), TASK, Address(host.provider.address), COIN)
    promise = Intent(f"{chain}:attempt:{TASK}", Effect.ATTEMPT, TASK, what.to, what.data)
    provider = Address(host.provider.address)
    journal = await SqliteStore.open(host.folder / "data" / "provider.db", chain_id=chain, provider=provider)
    await journal.plan(promise, at=0.0)
    await journal.close()
    before = await host.nonce()
    await moved(host, Effect.DEPOSIT, 1)
    assert await host.nonce() == before + 1
    reader = await open_readonly(host.folder / "data" / "provider.db")
    row = await reader.intent(promise.key)
    await reader.close()
    assert row is not None
    assert (row.state, row.nonce) == (IntentState.PLANNED, None)


async def test_what_is_unbonded_is_claimed_and_withdrawn_when_its_time_has_come(host: BareHost) -> None:
    await host.announce()
    await sit(host, answers(host))
    flags = ("--password-file", str(host.folder / "word"), "--yes", "--json", "--config", str(host.config))
    unbonded = await host.run("vault", "unbond", "7", *flags)
    assert unbonded.document["sent"] is True, unbonded.err
    early = await host.run("vault", "claim", *flags)
    assert (early.code, "[vault.not_elapsed]" in early.err) == (1, True)
    shown = await host.run("vault", "show", "--json", "--config", str(host.config))
    await host.later(shown.document["unbonding_period"] + 1)
    claimed = await host.run("vault", "claim", *flags)
    assert claimed.document["sent"] is True, claimed.err
    assert await host.ask("Vault", "unbondingOf", host.provider.address) == 0
    assert await host.ask("Vault", "balanceOf", host.provider.address) == 7 * COIN
    paid = await host.run("vault", "withdraw", "7", *flags)
    assert paid.document["sent"] is True, paid.err
    assert await host.ask("Vault", "balanceOf", host.provider.address) == 0
    assert await host.coin() > 7 * COIN
    assert await refused(host, Effect.CLAIM) == "vault.nothing"


async def test_the_masters_transaction_is_printed_and_works_when_signed_elsewhere(host: BareHost) -> None:
    await host.announce()
    await sit(host, answers(host))
    await host.act(host.master, "Vault", "deposit", host.master.address, value=5 * COIN)
    words = ("vault", "withdraw", "2", "--account", "master", "--config", str(host.config))
    shown = await host.run(*words)
    assert shown.code == 0, shown.err
    await host.sign(shown.out)
    await asyncio.sleep(1.0)
    done = await host.run("vault", "show", "--account", "master", "--json", "--config", str(host.config))
    assert done.code == 0, done.err
    assert done.document["balance_wei"] == 3 * COIN
    printed = await host.run(*words, "--json")
    assert printed.document["sent"] is False
    assert printed.document["data"].startswith("0x2e1a7d4d")


async def test_it_asks_before_it_sends_and_says_where_there_is_nobody(host: BareHost) -> None:
    await host.announce()
    await sit(host, answers(host))
    words = ("vault", "unbond", "1", "--password-file", str(host.folder / "word"), "--config", str(host.config))
    refused = await host.run(*words)
    assert (refused.code, "[usage.no_answer]" in refused.err, "--yes" in refused.err) == (2, True, True)
    done = await host.run(*words, "--yes", "--json")
    assert done.document["sent"] is True
    assert await host.ask("Vault", "unbondingOf", host.provider.address) == COIN
