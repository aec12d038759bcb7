"""What checks may look at: narrow questions, so that a test can plant any fault. `probes.py` asks the real host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.units import Address, Wei

if TYPE_CHECKING:
    from ogpu_provider.chain.networks import Network
    from ogpu_provider.chain.wallet import FeeData, Pairing, VaultAccount, VaultTerms
    from ogpu_provider.domain.source import SourceParams
    from ogpu_provider.runtime.trial import Outcome, Trial
    from ogpu_provider.scheduler.reading import Reading
    from ogpu_provider.settings import Settings


@dataclass(frozen=True, slots=True)
class FileFacts:
    """`kind`: file, directory, device, socket or other. `mode` without the kind's bits. `disk`: which file system."""

    kind: str
    mode: int
    uid: int
    gid: int
    inode: int = 0
    disk: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """Space of a file system, bytes; `inodes_free` as a fraction, None where there are no inodes to count."""

    total: int
    free: int
    inodes_free: float | None = None


class Files(Protocol):
    """Absent is None or empty; every other failure is an OSError."""

    async def stat(self, path: Path) -> FileFacts | None: ...

    async def text(self, path: Path) -> str | None:
        """At most 1 MiB of it."""
        ...

    async def names(self, path: Path) -> tuple[str, ...]: ...

    async def room(self, path: Path) -> Room:
        """Of the file system that holds `path`, or would hold it."""
        ...

    async def writable(self, path: Path) -> bool: ...

    async def chmod(self, path: Path, mode: int) -> None:
        """Not through a link."""
        ...

    async def mkdir(self, path: Path) -> None:
        """With its parents, for nobody else (0700)."""
        ...


class Machine(Protocol):
    @property
    def uid(self) -> int: ...

    @property
    def groups(self) -> frozenset[int]: ...

    @property
    def cpus(self) -> int: ...

    @property
    def kernel(self) -> str: ...

    def limit(self, name: str) -> tuple[float, float]:
        """Soft and hard value of `nofile`, `core` or `nproc`; infinity for none."""
        ...

    async def clock_synchronised(self) -> bool | None:
        """Whether the kernel's clock is being kept right; None if it does not say."""
        ...

    async def run(self, *words: str) -> tuple[int, str] | None:
        """Exit code and output of a program with an empty environment; None if there is no such program."""
        ...

    async def bindable(self, host: str, port: int) -> str:
        """Why a server could not listen there; empty if it could."""
        ...

    async def lend_listener(self, host: str, port: int) -> "Listener":
        """Listen for as long as its context is open. Raises OSError."""
        ...


class Listener(Protocol):
    port: int

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the engine says about itself. `components`: version by name (runc, containerd). Memory in bytes."""

    version: str
    api: str
    components: Mapping[str, str]
    runtimes: tuple[str, ...]
    default_runtime: str
    security: tuple[str, ...]
    storage_driver: str
    root_dir: str
    cgroup_version: str
    memory_limit: bool
    pids_limit: bool
    cpu_limit: bool
    forwarding: bool
    live_restore: bool
    swarm: bool
    cdi_dirs: tuple[str, ...]


class Engine(Protocol):
    """Raises EngineError."""

    async def facts(self) -> EngineFacts: ...

    async def gateway(self) -> str:
        """Address of this host on the default bridge."""
        ...

    async def compose(self) -> tuple[str, str]:
        """The command, and its version."""
        ...

    async def trial(self, trial: "Trial") -> "Outcome": ...

    async def unheld(self) -> str:
        """Why the egress of this daemon's running sources is not held, or could not be; empty if it is."""
        ...


class Gpus(Protocol):
    async def nvidia(self) -> "Reading": ...

    async def amd(self) -> "Reading": ...


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """One RPC endpoint by its host, never its URL: chain id and newest block, or why it does not say."""

    name: str
    chain_id: int | None = None
    head: int | None = None
    problem: str = ""


class Chain(Protocol):
    """Every answer is asked for anew. Raises ProviderErrors of the chain's part of the tree."""

    async def chain_id(self) -> int:
        """WrongNetwork is not raised here."""
        ...

    async def empty_contracts(self) -> Sequence[Address]:
        """Those addresses of the network where there is no contract."""
        ...

    async def head(self) -> tuple[int, int]:
        """Number and unix time of the newest block."""
        ...

    async def endpoints(self) -> Sequence[EndpointFacts]:
        """Every endpoint that the settings name, in the daemon's order."""
        ...

    async def socket_head(self) -> int:
        """Number of the next block that the websocket announces."""
        ...

    async def balance(self, account: Address) -> Wei: ...

    async def nonce(self, account: Address) -> int: ...

    async def fees(self) -> "FeeData": ...

    async def vault(self, account: Address) -> "VaultAccount": ...

    async def terms(self) -> "VaultTerms": ...

    async def pairing(self, provider: Address) -> "Pairing": ...

    async def sources(self) -> Sequence[Address]: ...

    async def source(self, source: Address) -> "SourceParams": ...


class Web(Protocol):
    async def status(self, url: str) -> tuple[int, str]:
        """HTTP status of a GET, not redirected; 0 and the reason if nobody answers."""
        ...


@dataclass(frozen=True, slots=True)
class JournalFacts:
    """`ended`: code and sentence of what ended the last daemon, if it ended by itself."""

    chain_id: int | None
    provider: str | None
    highest_nonce: int | None
    damage: tuple[str, ...] = ()
    ended: str = ""
    cordons: tuple[Cordon, ...] = ()


class Books(Protocol):
    """What this daemon keeps: its key's file and its journal."""

    async def address(self) -> Address | None:
        """The keystore's address, None if the file does not name it. Raises KeyRefused."""
        ...

    async def journal(self) -> JournalFacts | None:
        """None if there is none yet. Raises StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    settings: "Settings"
    network: "Network"
    clock: Clock
    files: Files
    machine: Machine
    engine: Engine
    gpus: Gpus
    chain: Chain
    web: Web
    books: Books
