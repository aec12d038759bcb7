"""What the steps share: the answers given beforehand, a way to ask for the others, and the parts that are open."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ogpu_provider import config, configfile
from ogpu_provider.chain.mastery import Unsigned
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.chain.wallet import Wallet
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.environment import Secret
from ogpu_provider.keys.signer import SecretKey
from ogpu_provider.onboarding.desk import Desk
from ogpu_provider.onboarding.forward import Forward
from ogpu_provider.settings import Settings


class OnboardingError(ProviderError):
    """A step cannot go on. What was done before it stays done."""

    default_code = "register.stopped"


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step found or did; `facts` are for scripts. `state`: done already, done now, or left out."""

    step: str
    state: str
    facts: Mapping[str, object] = field(default_factory=dict)


ALREADY, DONE, SKIPPED = "already", "done", "skipped"
WAITS = "Waiting for its block ..."
"""Said before each of our transactions."""


@dataclass(frozen=True, slots=True)
class HostFinding:
    """One result of the host check that is not good."""

    id: str
    severity: str
    found: str
    remedy: str


Examine = Callable[[Settings], Awaitable[Sequence[HostFinding]]]


class Dialogue(Protocol):
    """A person, or the flags that stand for one. Each question names the flag that answers it.

    Raises ConfigError (usage.no_answer) where nobody can be asked.
    """

    @property
    def asks(self) -> bool:
        """Whether somebody is there to answer."""
        ...

    def say(self, text: str = "") -> None: ...

    def ask(self, question: str, *, flag: str, default: str = "") -> str: ...

    def confirm(self, question: str, *, flag: str, default: bool = True) -> bool: ...

    def secret(self, question: str, *, flag: str, twice: bool = False) -> Secret: ...

    def show(self, transaction: Unsigned, *, signer: str, currency: str, sentence: str) -> None:
        """A transaction for another key: recipient, value, calldata, in words, as a link and as a QR code."""
        ...


@dataclass(frozen=True, slots=True)
class Answers:
    """What the flags said; None or empty: to be asked. Amounts in wei, times in seconds."""

    network: str = ""
    rpc_url: str = ""
    ws_url: str = ""
    publish_url: str = ""
    gateway_url: str = ""
    key: str = ""
    secret: Secret | None = None
    account_index: int = 0
    foreign_keystore: Path | None = None
    foreign_password: Secret | None = None
    incumbent: Secret | None = None
    password: Secret | None = None
    password_file: Path | None = None
    password_credential: str = ""
    save_password: bool | None = None
    accept_warnings: bool = False
    check_host: bool = True
    master: str = ""
    master_keystore: Path | None = None
    master_password: Secret | None = None
    lockup: Wei | None = None
    sources: tuple[str, ...] | None = None
    environment: str = ""
    pull: bool = True
    register_now: bool = True
    wait: float = 600.0


@dataclass(slots=True)
class Sitting:
    """One run of the guided registration. The parts below the line are opened by the steps, in order."""

    file: Path
    answers: Answers
    talk: Dialogue
    clock: Clock
    stack: AsyncExitStack
    examine: Examine | None = None
    keystore_rounds: int = 262_144
    results: list[StepResult] = field(default_factory=list)

    _settings: Settings | None = None
    _network: Network | None = None
    _rpc: Forward | None = None
    _key: SecretKey | None = None
    _desk: Desk | None = None
    master: Address | None = None

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            self._settings = config.load(self.file, changes={}).settings
        return self._settings

    def amend(self, changes: Mapping[str, configfile.Value | None]) -> None:
        """Write settings into the operator's file and read it again. Raises ConfigError."""
        configfile.amend(self.file, changes)
        self._settings = None

    def opened(self, network: Network, rpc: Forward) -> None:
        self._network, self._rpc = network, rpc

    def unlocked(self, key: SecretKey, desk: Desk) -> None:
        self._key, self._desk = key, desk

    @property
    def network(self) -> Network:
        assert self._network is not None, "the network step comes first"
        return self._network

    @property
    def rpc(self) -> Forward:
        assert self._rpc is not None, "the network step comes first"
        return self._rpc

    @property
    def wallet(self) -> Wallet:
        return Wallet(self.rpc, self.network)

    @property
    def provider(self) -> Address:
        assert self._key is not None, "the key step comes first"
        return self._key.address

    @property
    def desk(self) -> Desk:
        assert self._desk is not None, "the key step comes first"
        return self._desk

    @property
    def reader(self) -> ChainReader:
        return ChainReader(self.rpc, self.network, self.provider)
