"""While the master's transaction is waited for: what a person reads, and how it ends."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from ogpu_provider.chain.networks import TESTNET
from ogpu_provider.chain.wire import Call
from ogpu_provider.devnet import accounts
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.units import Address
from ogpu_provider.keys.signer import SecretKey
from ogpu_provider.onboarding.desk import Desk
from ogpu_provider.onboarding.forward import Forward
from ogpu_provider.onboarding.pairing import heard
from ogpu_provider.onboarding.sitting import Answers, Dialogue, OnboardingError, Sitting
from tests.fakes.clock import FakeClock

MASTER = Address(accounts.role("master").address)


class Silent:
    """A node on which nothing is announced; nothing at all is heard of it while `down`."""

    down = False

    async def call(self, method: str, *params: Any) -> Any:
        raise AssertionError("a read comes with the number of the block")

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        if self.down:
            raise RpcUnavailable("no endpoint answers")
        return ["0x1" if method == "eth_blockNumber" else [] for method, _ in calls]


class Ear:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str = "") -> None:
        self.said.append(text)


async def test_a_long_wait_is_told_every_minute_and_why_it_may_be_in_vain(tmp_path: Path) -> None:
    clock, node, ear = FakeClock(), Silent(), Ear()
    async with AsyncExitStack() as stack:
        talk = cast(Dialogue, ear)
        sitting = Sitting(tmp_path / "config.toml", Answers(wait=200), talk, clock, stack)
        sitting.opened(TESTNET, Forward(node, clock))
        sitting.unlocked(SecretKey.from_hex(accounts.role("provider").private_key), cast(Desk, None))
        waiting = asyncio.ensure_future(heard(sitting, MASTER, since=1))
        await clock.advance(61)
        assert ear.said == ["Still waiting; 140 s left."]
        node.down = True
        await clock.advance(60)
        assert ear.said[1:] == ["Still waiting; 80 s left. The chain cannot be read just now: no endpoint answers"]
        node.down = False
        await clock.advance(60)
        assert ear.said[2:] == ["Still waiting; 20 s left."]
        await clock.advance(20)
        with pytest.raises(OnboardingError) as ended:
            await waiting
    assert ended.value.code == "pairing.waiting"
