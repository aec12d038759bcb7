"""`register` over several endpoints, some dead or behind: nothing is sent twice because a node has not heard of it."""

import json
import tomllib
from pathlib import Path

import pytest

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.units import COIN
from tests.integration.onboarding.host import BareHost
from tests.integration.onboarding.replica import Replica
from tests.integration.onboarding.sit import Listener, answers, sit

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

DEAD = "http://127.0.0.1:9"


def through(config: Path, *urls: str) -> None:
    with config.open("a") as file:
        file.write(f"\n[network]\nrpc_urls = {json.dumps(urls)}\n")


async def test_one_dead_one_lagging_one_well(host: BareHost, source: str) -> None:
    """The dead and the lagging one come first. The stake is raised step by step: a late answer would pay it twice."""
    await host.fund(host.provider.address, 60 * COIN)
    await host.announce(value=80 * COIN)
    talk = Listener()
    async with Replica(host.network.node.rpc_url, behind=6) as replica:
        through(host.config, DEAD, replica.url, host.network.node.rpc_url)
        for lockup in (100, 110, 120):
            await sit(host, answers(host, rpc_url="", lockup=lockup * COIN, sources=(source,)), talk)
            assert await host.ask("Vault", "lockupOf", host.provider.address) == lockup * COIN
        assert replica.asked
    said = await host.said()
    assert said == {"MasterAnnounced": 1, "ProviderAnnounced": 1, "Registered": 1, "Locked": 4, "Deposited": 3}
    assert await host.nonce() == 8, "announceMaster, register, and three times deposit and lock"
    assert any("127.0.0.1:9 is left out" in text for text in talk.said)
    assert any("blocks behind" in text for text in talk.said)
    assert tomllib.loads(host.config.read_text())["network"]["rpc_urls"][0] == DEAD


async def test_a_single_address_with_replicas_behind_it_that_lag(host: BareHost) -> None:
    """The second sitting finds its own deposit and lock, although the node forgets them at first."""
    await host.fund(host.provider.address, 60 * COIN)
    await host.announce(value=80 * COIN)
    async with Replica(host.network.node.rpc_url, behind=0) as replica:
        await sit(host, answers(host, rpc_url=replica.url))
        replica.behind = 8
        await sit(host, answers(host, rpc_url=replica.url))
        await sit(host, answers(host, rpc_url=replica.url, lockup=110 * COIN))
    assert await host.ask("Vault", "lockupOf", host.provider.address) == 110 * COIN
    assert await host.nonce() == 5, "announceMaster, and twice deposit and lock"


async def test_no_endpoint_is_well(host: BareHost) -> None:
    through(host.config, DEAD, "http://127.0.0.1:19")
    before = host.config.read_text()
    with pytest.raises(ProviderError) as caught:
        await sit(host, answers(host, rpc_url=""))
    assert caught.value.code == "chain.unavailable"
    assert "nothing was written" in str(caught.value)
    assert host.config.read_text() == before
