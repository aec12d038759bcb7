"""What the path needs from the world. Adapters live in the rooms below; the daemon joins them.

Every method may raise the errors of `domain.errors`; what a caller may do about one is in its `retry`.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from ogpu_provider.domain.admission import Admission, Candidate
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.content import Pin
from ogpu_provider.domain.facts import Block, Fact, TaskView
from ogpu_provider.domain.intent import Intent, SignedTx
from ogpu_provider.domain.project import Occupancy, ProjectSpec, RunningProject
from ogpu_provider.domain.resources import Device, Host, Lease
from ogpu_provider.domain.source import Environment, SourceParams
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.domain.verdict import Verdict
from ogpu_provider.pipeline.book import SourceBook
from ogpu_provider.pipeline.journal import Journal


class Chain(Protocol):
    """Reads of contract state, and calldata for what we want to do."""

    @property
    def provider(self) -> Address: ...

    async def published(self, task: Address) -> TaskView:
        """Parameters of a task just published, in one call; its status is taken to be NEW."""
        ...

    async def standing(self, task: Address) -> TaskView:
        """Everything about a task as of now, including our part in it and the winner."""
        ...

    async def winner(self, task: Address) -> Address | None: ...

    async def open_tasks(self, source: Address) -> list[TaskView]:
        """Tasks of a source that are not over; for the start, when logs may have been missed."""
        ...

    async def source(self, source: Address) -> SourceParams: ...

    async def all_sources(self) -> list[Address]: ...

    async def registered_environment(self, source: Address) -> Environment | None:
        """How this provider is registered to a source, None if it is not."""
        ...

    def intent_attempt(self, task: Address, payment: Wei, deadline: float) -> Intent: ...

    def intent_submit(self, task: Address, link: str, payment: Wei, deadline: float) -> Intent: ...

    def intent_register(self, source: Address, environment: Environment) -> Intent: ...

    def intent_unregister(self, source: Address) -> Intent: ...


class Sender(Protocol):
    def wake(self) -> None:
        """Say that the journal holds a new intent. Returns at once."""
        ...

    def signing(self, intents: Sequence[Intent]) -> AbstractAsyncContextManager[Sequence[SignedTx]]:
        """The first signed bytes of intents, to be committed together with them within the context; they are sent
        when it ends well. Empty where others come first: the intents are planned alone then, and the sender woken."""
        ...

    async def observe(self, block: Block, facts: Sequence[Fact]) -> None:
        """Take in what a block says of transactions of ours."""
        ...


class Content(Protocol):
    """Documents that others chose to point at, and results that we publish."""

    async def get(self, url: str, *, limit: int) -> bytes:
        """Fetch at most `limit` bytes. Raises FetchError."""
        ...

    def cid(self, body: bytes) -> str: ...

    async def pin(self, name: str, body: bytes) -> Pin:
        """Publish; the returned CID equals `cid(body)` or PinError is raised."""
        ...


class Contract(Protocol):
    """What a running source container accepts, from its OpenAPI document."""

    @property
    def functions(self) -> frozenset[str]: ...

    def violations(self, function: str, data: str) -> tuple[str, ...]:
        """Why the JSON text `data` is not an input of `function`; empty if it is."""
        ...


class Runtime(Protocol):
    """Other people's containers."""

    async def device_need(
        self,
        compose: bytes,
        environment: Environment,
        waived: frozenset[str] = frozenset(),
        source: Address | None = None,
    ) -> int:
        """Pass the file through the gate and return how many devices it needs. Raises ComposeRefused.

        `waived`: codes of the gate's rules that the operator lifted for this file. All devices are as many as the
        operator grants the source.
        """
        ...

    async def device_images(
        self, source: Address, compose: bytes, environment: Environment, waived: frozenset[str] = frozenset()
    ) -> tuple[str, ...]:
        """The digest of each container's image that will use a device; empty for one that nobody knows yet."""
        ...

    async def images(
        self, compose: bytes, environment: Environment, waived: frozenset[str] = frozenset()
    ) -> tuple[str, ...]:
        """Pass the file through the gate and return the images that it names, sorted. Raises ComposeRefused."""
        ...

    async def up(self, spec: ProjectSpec) -> None:
        """Gate, pull by digest, start, probe until it answers. Done already: returns quickly.

        Raises ComposeRefused or EngineError (`engine.image_missing`, `engine.never_ready`, `engine.exited`, ...).
        """
        ...

    def replaces(self, spec: ProjectSpec) -> bool:
        """Whether `up` with this file would take down containers that are well. Its devices do not count."""
        ...

    async def contract(self, source: Address) -> Contract | None:
        """None while the source's project is not up."""
        ...

    async def dispatch(self, source: Address, task: Address, function: str, data: str) -> None:
        """POST the input to the container; returns on 202. Raises DispatchError."""
        ...

    async def health(self, source: Address) -> None:
        """Raises EngineError with the reason if the project cannot finish work any more."""
        ...

    async def keep_logs(self, source: Address, task: Address, since: float) -> None:
        """Store what the source's containers printed since `since` (unix seconds) as the task's log."""
        ...

    async def approved(self, source: Address, digest: str = "") -> tuple[str, ...]:
        """The operator approved what a source runs: what its registries have under its tags by now, too; with
        `digest`, only if that is it. Returns the names of the images that will be others from the next `up` on.
        """
        ...

    async def pull_left(self, source: Address) -> int:
        """Compressed bytes of the source's images that are not on this host, as far as it was up in this run."""
        ...

    def forgive(self, source: Address) -> None:
        """The operator wants another try: ends of the source's project so far do not count against it any more.

        Where there were too many of them, `up` raises EngineError `engine.restarts`.
        """
        ...

    async def down(self, source: Address) -> None: ...

    async def recover(self) -> list[RunningProject]:
        """Projects with our labels that still run, adopted; called once at start."""
        ...

    async def occupancy(self) -> Occupancy:
        """What runs now with our labels, asked anew, and what is on its way up or down."""
        ...

    async def own(self, pids: Collection[int]) -> frozenset[int]:
        """Those of these processes that run in containers of ours."""
        ...

    async def test(self, device: Device) -> None:
        """Give a device to a small container for a moment. Raises EngineError with what did not work."""
        ...


class Scheduler(Protocol):
    """May I, and where. Decides on what it is given; the ledger of leases is its only state."""

    @property
    def host(self) -> Host: ...

    def choose_environment(self, offered: frozenset[Environment]) -> Environment | None:
        """The environment to serve a source in, None if the host has none of those offered."""
        ...

    def grant_devices(
        self, source: Address, environment: Environment, count: int, images: tuple[str, ...] = ()
    ) -> tuple[Device, ...] | None:
        """Lease devices to a source's project, all or nothing; the same ones again if it holds them.

        `images`: digests of what will use them, by which it may be put beside others.
        """
        ...

    def share(self, source: Address) -> int:
        """Bytes of its device that a source holds from now on; 0: all of it, and nobody may be put beside it."""
        ...

    def admit(self, candidate: Candidate) -> Admission: ...

    def in_time(self, candidate: Candidate) -> Verdict:
        """Whether a task could be done before it expires, whatever else speaks for or against it; takes nothing."""
        ...

    def firsts(self, sources: Collection[Address], now: float) -> list[Address]:
        """Of each of these sources the task that waits for room and whose turn is first; the first of all first."""
        ...

    def restore(self, lease: Lease) -> None:
        """Count a lease that is held already (restart). Counted even where it no longer fits."""
        ...

    def release(self, holder: str) -> bool:
        """Give back; False if nothing was held."""
        ...


@dataclass(slots=True)
class Head:
    """The newest block heard of; written by the intake, read by the stages."""

    block: Block | None = None

    def now(self, clock: Clock) -> float:
        """The later of wall time and chain time: a deadline of the chain counts in whichever is ahead."""
        return max(clock.now(), float(self.block.timestamp) if self.block else 0.0)


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's figures for the path, in seconds and blocks.

    `response_margin`: a result must be there this long before expiry. `max_run`: no task runs longer.
    `confirmations`: blocks on top before a payment counts. `config_limit` in bytes. Transient errors are tried
    again with a growing pause: a few times before the attempt (nothing is owed yet), until expiry after it. While no
    RPC endpoint answers, tasks wait for one until they expire.
    """

    response_margin: float = 10.0
    max_run: float = 3600.0
    confirmations: int = 3
    config_limit: int = 1 << 20
    retry_pause: float = 1.0
    retry_pause_max: float = 30.0
    outage_pause_max: float = 4.0
    tries_before_attempt: int = 3
    max_dispatches: int = 2


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything a stage may use. `started_at`: since when results are listened for, unix seconds."""

    journal: Journal
    chain: Chain
    sender: Sender
    content: Content
    runtime: Runtime
    scheduler: Scheduler
    clock: Clock
    boot: str
    started_at: float = 0.0
    head: Head = field(default_factory=Head)
    book: SourceBook = field(default_factory=SourceBook)
    policy: Policy = field(default_factory=Policy)
