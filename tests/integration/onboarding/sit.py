"""A sitting in this process, for what goes wrong: a listener instead of a terminal, a cheap keystore."""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ogpu_provider.chain.mastery import Unsigned
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import ConfigError, ProviderError
from ogpu_provider.environment import Secret
from ogpu_provider.onboarding.sitting import Answers, Examine, Sitting, StepResult
from ogpu_provider.onboarding.steps import register
from tests.integration.onboarding.host import BareHost


@dataclass
class Listener:
    """Confirms everything that is not in `declines`, picks sources, answers nothing else, and keeps what was said."""

    declines: tuple[str, ...] = ()
    picks: str = ""
    said: list[str] = field(default_factory=list)
    shown: list[Unsigned] = field(default_factory=list)

    @property
    def asks(self) -> bool:
        return False

    def say(self, text: str = "") -> None:
        self.said.append(text)

    def ask(self, question: str, *, flag: str, default: str = "") -> str:
        if self.picks and flag == "--source":
            return self.picks
        raise ConfigError(f"nobody can be asked: {question}", code="usage.no_answer", remedy=f"give {flag}")

    def confirm(self, question: str, *, flag: str, default: bool = True) -> bool:
        return question not in self.declines

    def secret(self, question: str, *, flag: str, twice: bool = False) -> Secret:
        raise ConfigError(f"nobody can be asked: {question}", code="usage.no_answer", remedy=f"give {flag}")

    def show(self, transaction: Unsigned, *, signer: str, currency: str, sentence: str) -> None:
        self.said.append(sentence)
        self.shown.append(transaction)


def answers(host: BareHost, **changes: Any) -> Answers:
    made = host.network.describe()
    plain = Answers(
        network="devnet",
        rpc_url=made["rpc_url"],
        publish_url=made["pin_url"] + "/file/create",
        gateway_url=made["gateway_url"],
        key="hex",
        secret=Secret(host.provider.private_key),
        password=Secret("horse"),
        master=host.master.address,
        sources=(),
        pull=False,
        wait=5.0,
    )
    return replace(plain, **changes)


async def sit(
    host: BareHost, given: Answers, talk: Listener | None = None, *, examine: Examine | None = None
) -> list[StepResult]:
    async with AsyncExitStack() as stack:
        sitting = sitting_of(host, given, talk or Listener(), stack)
        sitting.examine = examine
        return await register(sitting)


def sitting_of(host: BareHost, given: Answers, talk: Listener, stack: AsyncExitStack) -> Sitting:
    return Sitting(
        file=host.config,
        answers=given,
        talk=talk,
        clock=SystemClock(),
        stack=stack,
        keystore_rounds=4096,
    )


async def refused(host: BareHost, code: str, talk: Listener | None = None, **changes: Any) -> ProviderError:
    """The refusal; it has a sentence and a remedy, and nothing was sent for it."""
    before = await host.nonce()
    with pytest.raises(ProviderError) as caught:
        await sit(host, answers(host, **changes), talk)
    assert caught.value.code == code, caught.value
    assert str(caught.value)
    assert caught.value.remedy
    assert await host.nonce() == before
    return caught.value


async def paired(host: BareHost) -> None:
    await host.announce()
    await sit(host, answers(host))
