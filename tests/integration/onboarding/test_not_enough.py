"""Not enough coin at any step: who lacks how much is said, nothing is sent, and with the coin it goes on."""

from typing import Any

import pytest

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.units import COIN
from ogpu_provider.environment import Secret
from ogpu_provider.keys import keystore
from tests.integration.onboarding.host import BareHost, fresh
from tests.integration.onboarding.sit import Listener, answers, paired, refused, sit

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]


async def test_no_gas_to_announce_with(host: BareHost) -> None:
    await host.fund(host.provider.address, 0)
    await host.announce()
    error = await refused(host, "tx.not_enough_balance")
    assert host.provider.address in error.remedy
    await host.fund(host.provider.address, COIN)
    await sit(host, answers(host))
    assert await host.said() == {"MasterAnnounced": 1, "ProviderAnnounced": 1, "Locked": 1}


async def test_no_coin_for_the_stake_prints_a_deposit_for_the_master(host: BareHost) -> None:
    await host.announce(value=30 * COIN)
    talk = Listener()
    with pytest.raises(ProviderError) as caught:
        await sit(host, answers(host, wait=1.0), talk)
    assert caught.value.code == "stake.not_enough_balance"
    [deposit] = talk.shown
    assert (deposit.function, deposit.value) == ("deposit", 70 * COIN)
    await host.act(host.master, "Vault", "deposit", host.provider.address, value=deposit.value)
    await sit(host, answers(host))
    assert await host.ask("Vault", "lockupOf", host.provider.address) == 100 * COIN
    assert (await host.said())["Deposited"] == 1


async def test_no_gas_at_each_later_step_and_then_on(host: BareHost, dear: str) -> None:
    """The lock and the registration find an empty account; with coin on it, each is made once."""
    await host.announce(value=60 * COIN)
    await host.act(host.master, "Vault", "deposit", host.provider.address, value=90 * COIN)
    await sit(host, answers(host, lockup=60 * COIN))
    for at, sources in (("lock", ()), ("register", (dear,))):
        await host.fund(host.provider.address, 1)
        talk = Listener()
        error = await refused(host, "tx.not_enough_balance", talk, lockup=150 * COIN, sources=sources)
        assert (host.provider.address in str(error), "send at least" in error.remedy) == (True, True)
        assert any(text.startswith(f"Next: {at}") for text in talk.said)
        await host.fund(host.provider.address, COIN)
        await sit(host, answers(host, lockup=150 * COIN, sources=sources))
    assert await host.said() == {
        "MasterAnnounced": 1,
        "ProviderAnnounced": 1,
        "Registered": 1,
        "Deposited": 1,
        "Locked": 2,
    }


async def test_a_poor_master_at_hand(host: BareHost) -> None:
    await host.fund(host.master.address, 50 * COIN)
    path = host.folder / "master.json"
    await keystore.import_key(path, host.master.private_key, "horse", rounds=4096)
    hand: dict[str, Any] = {"master_keystore": path, "master_password": Secret("horse")}
    assert "the master" in str(await refused(host, "tx.not_enough_balance", **hand))
    await host.fund(host.master.address, 200 * COIN)
    await refused(host, "key.password", master_keystore=path, master_password=Secret("cow"))
    await refused(host, "pairing.other_key", **hand, master=fresh().address)
    assert not (host.folder / "data" / "master-transaction.json").exists()


async def test_a_source_that_asks_for_more_stake_than_there_is(host: BareHost, dear: str) -> None:
    await paired(host)
    await refused(host, "stake.not_enough_balance", sources=(dear,), wait=0.5)
    await host.fund(host.provider.address, 60 * COIN)
    await sit(host, answers(host, sources=(dear,)))
    assert await host.ask("Vault", "lockupOf", host.provider.address) == 150 * COIN
    assert (await host.said())["Registered"] == 1
