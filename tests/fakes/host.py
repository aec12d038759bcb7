"""A host for the doctor: as new, everything is in order, with an NVIDIA and an AMD GPU. Tests plant faults in it."""

import math
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ogpu_provider.chain.networks import TESTNET, Network
from ogpu_provider.chain.wallet import FeeData, Pairing, VaultAccount, VaultTerms
from ogpu_provider.doctor.ports import Context, EndpointFacts, EngineFacts, FileFacts, JournalFacts, Room
from ogpu_provider.domain.errors import EngineError, ProviderError
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import DeliveryMethod, Environment, SourceParams, SourceStatus
from ogpu_provider.domain.units import COIN, ZERO_ADDRESS, Address
from ogpu_provider.runtime.trial import Outcome, Trial
from ogpu_provider.scheduler.reading import DeviceReading, Reading
from ogpu_provider.settings import Settings

GIB = 1 << 30
NOW = 1_800_000_000
DATA = Path("/var/lib/ogpu")
PROVIDER = Address("0x" + "0" * 39 + "9")
MASTER = Address("0x" + "0" * 39 + "8")
SOURCE = Address("0x" + "0" * 39 + "7")
UUID = "GPU-0b1c"
ROOT_DIR = "/var/lib/docker"


class SteppingClock:
    """Sleeping is instant: it moves the time."""

    def __init__(self) -> None:
        self.time = float(NOW)

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


def directory(mode: int = 0o755, *, uid: int = 0, disk: int = 1) -> FileFacts:
    return FileFacts("directory", mode, uid, uid, 2, disk)


def file(mode: int = 0o600, *, uid: int = 0, gid: int = 0) -> FileFacts:
    return FileFacts("file", mode, uid, gid, 4711, 1)


class FakeFiles:
    def __init__(self) -> None:
        self.facts: dict[str, FileFacts] = {
            "/": directory(),
            ROOT_DIR: directory(0o710, disk=2),
            "/var/run/docker.sock": FileFacts("socket", 0o660, 0, 999),
            "/dev/nvidiactl": FileFacts("device", 0o666, 0, 0),
            "/dev/nvidia-uvm": FileFacts("device", 0o666, 0, 0),
            "/dev/kfd": FileFacts("device", 0o660, 0, 109),
            str(DATA): directory(0o700),
            f"{DATA}/provider.db": file(),
            f"{DATA}/provider.db.lock": file(),
            f"{DATA}/callback.secret": file(),
            f"{DATA}/keystore.json": file(),
            "/etc/ogpu": directory(),
            "/etc/ogpu/password": file(),
        }
        self.texts: dict[str, str] = {
            "/proc/meminfo": "MemTotal:       65536000 kB\nMemFree: 1 kB\nMemAvailable:   60000000 kB\n",
            "/proc/sys/user/max_user_namespaces": "96365\n",
            "/proc/modules": "nvidia 1 2 - Live\namdgpu 1 2 - Live\n",
            "/proc/locks": "1: POSIX  ADVISORY  WRITE 77 00:10:4711 0 EOF\n",
            "/proc/self/environ": "PATH=/bin\0HOME=/root\0",
            "/proc/1/cmdline": "/sbin/init\0",
            "/proc/77/cmdline": "/usr/bin/python3\0/usr/bin/ogpu-provider\0status\0",
            "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n",
            "/sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
            "/sys/bus/pci/devices/0000:01:00.0/class": "0x030200\n",
            "/sys/bus/pci/devices/0000:02:00.0/vendor": "0x1002\n",
            "/sys/bus/pci/devices/0000:02:00.0/class": "0x038000\n",
            "/etc/nvidia-container-runtime/config.toml": (
                "accept-nvidia-visible-devices-envvar-when-unprivileged = false\n"
            ),
            f"{DATA}/callback.port": "40111",
        }
        self.folders: dict[str, tuple[str, ...]] = {
            "/sys/bus/pci/devices": ("0000:01:00.0", "0000:02:00.0"),
            "/sys/fs/cgroup": ("cgroup.controllers",),
            "/dev/dri": ("card0", "renderD128"),
            "/proc": ("1", "77", "self", "meminfo"),
            "/etc/cdi": (),
        }
        self.rooms: dict[str, Room] = {}
        self.read_only: set[str] = set()

    async def stat(self, path: Path) -> FileFacts | None:
        return self.facts.get(str(path))

    async def text(self, path: Path) -> str | None:
        return self.texts.get(str(path))

    async def names(self, path: Path) -> tuple[str, ...]:
        return self.folders.get(str(path), ())

    async def room(self, path: Path) -> Room:
        return self.rooms.get(str(path), Room(500 * GIB, 300 * GIB, 0.9))

    async def writable(self, path: Path) -> bool:
        return str(path) not in self.read_only

    async def chmod(self, path: Path, mode: int) -> None:
        self.facts[str(path)] = replace(self.facts[str(path)], mode=stat.S_IMODE(mode))

    async def mkdir(self, path: Path) -> None:
        self.facts[str(path)] = directory(0o700)


class FakeListener:
    port = 40222
    closed = False

    async def close(self) -> None:
        self.closed = True


class FakeMachine:
    def __init__(self) -> None:
        self.uid = 0
        self.groups = frozenset({0})
        self.cpus = 16
        self.kernel = "6.12.48+deb13-amd64"
        self.limits: dict[str, tuple[float, float]] = {
            "nofile": (4096, 1048576),
            "core": (0, math.inf),
            "nproc": (100_000, 100_000),
        }
        self.synchronised: bool | None = True
        self.programs: dict[str, tuple[int, str]] = {
            "nvidia-ctk": (0, "NVIDIA Container Toolkit CLI version 1.19.1\ncommit: 12ab\n"),
        }
        self.taken: dict[tuple[str, int], str] = {}
        self.listener = FakeListener()

    def limit(self, name: str) -> tuple[float, float]:
        return self.limits[name]

    async def clock_synchronised(self) -> bool | None:
        return self.synchronised

    async def run(self, *words: str) -> tuple[int, str] | None:
        return self.programs.get(words[0])

    async def bindable(self, host: str, port: int) -> str:
        return self.taken.get((host, port), "")

    async def lend_listener(self, host: str, port: int) -> FakeListener:
        return self.listener


HARDENED = """CapEff:\t0000000000000000
NoNewPrivs:\t1
Seccomp:\t2
uids 0 0 4294967295
kernel Linux version 6.18.0
"""
"""What the trial of isolation prints in an ordinary container."""


class FakeEngine:
    def __init__(self) -> None:
        self.about = EngineFacts(
            version="29.9.0",
            api="1.52",
            components={"runc": "1.3.3", "containerd": "2.2.0"},
            runtimes=("runc", "nvidia"),
            default_runtime="runc",
            security=("name=apparmor", "name=seccomp,profile=builtin", "name=userns"),
            storage_driver="overlayfs",
            root_dir=ROOT_DIR,
            cgroup_version="2",
            memory_limit=True,
            pids_limit=True,
            cpu_limit=True,
            forwarding=True,
            live_restore=True,
            swarm=False,
            cdi_dirs=("/etc/cdi", "/var/run/cdi"),
        )
        self.command = ("docker compose", "2.40.3")
        self.bridge: str | None = "172.17.0.1"
        self.down: ProviderError | None = None
        self.no_compose: ProviderError | None = None
        self.gpu_outcome = Outcome(0, f"GPU 0: NVIDIA H100 (UUID: {UUID})\n")
        self.callback_outcome: Outcome | ProviderError = Outcome(0, "reached\n")
        self.levels = {"": Outcome(0, HARDENED)}
        self.trials: list[Trial] = []
        self.open = ""

    async def facts(self) -> EngineFacts:
        if self.down is not None:
            raise self.down
        return self.about

    async def gateway(self) -> str:
        if self.bridge is None:
            raise EngineError("the engine has no IPv4 default bridge", code="engine.no_bridge")
        return self.bridge

    async def compose(self) -> tuple[str, str]:
        if self.no_compose is not None:
            raise self.no_compose
        return self.command

    async def trial(self, trial: Trial) -> Outcome:
        self.trials.append(trial)
        outcome = self.gpu_outcome if trial.nvidia else self.callback_outcome
        if "uid_map" in trial.script:
            outcome = self.levels[trial.runtime]
        if isinstance(outcome, ProviderError):
            raise outcome
        return outcome

    async def unheld(self) -> str:
        return self.open


class FakeGpus:
    def __init__(self) -> None:
        h100 = Device(UUID, Environment.NVIDIA, "NVIDIA H100", 80 * GIB, GIB)
        self.survey = Reading((DeviceReading(h100),), driver="595.71.05")
        nodes = ("/dev/kfd", "/dev/dri/renderD128")
        mi300 = Device("0000:02:00.0", Environment.AMD, "MI300X", 192 * GIB, GIB, nodes)
        self.reading = Reading((DeviceReading(mi300),))

    async def nvidia(self) -> Reading:
        return self.survey

    async def amd(self) -> Reading:
        return self.reading


class FakeChain:
    """A chain of one block per second of its clock."""

    def __init__(self, clock: SteppingClock) -> None:
        self._clock = clock
        self.down: ProviderError | None = None
        self.id = TESTNET.chain_id
        self.empty: tuple[Address, ...] = ()
        self.behind = 0.0
        self.stands = False
        self.slow = 0.0
        self.socket: int | ProviderError = 1234
        self.coin = COIN
        self.price = 10**9
        self.transactions = 6
        self.others: dict[str, EndpointFacts] = {}
        self.account = VaultAccount(0, 200 * COIN, 0, 0, 0, 0, True, False)
        self.minimum = 100 * COIN
        self.pair = Pairing(MASTER, True, "", "")
        self.offered = {SOURCE: source()}

    async def chain_id(self) -> int:
        if self.down is not None:
            raise self.down
        return self.id

    async def empty_contracts(self) -> Sequence[Address]:
        return self.empty

    async def head(self) -> tuple[int, int]:
        self._clock.time += self.slow
        now = int(self._clock.time - self.behind)
        return (1000, NOW) if self.stands else (now - NOW + 1000, now)

    async def endpoints(self) -> Sequence[EndpointFacts]:
        first = EndpointFacts("testnet.example.org", self.id, 1000)
        second = EndpointFacts("second.example.org", self.id, 999)
        return tuple(({end.name: end for end in (first, second)} | self.others).values())

    async def socket_head(self) -> int:
        if isinstance(self.socket, ProviderError):
            raise self.socket
        return self.socket

    async def balance(self, account: Address) -> int:
        assert account == PROVIDER
        return self.coin

    async def nonce(self, account: Address) -> int:
        return self.transactions

    async def fees(self) -> FeeData:
        return FeeData(self.price, self.price, 1)

    async def vault(self, account: Address) -> VaultAccount:
        assert account == PROVIDER
        return self.account

    async def terms(self) -> VaultTerms:
        return VaultTerms(self.minimum, 604_800)

    async def pairing(self, provider: Address) -> Pairing:
        return self.pair

    async def sources(self) -> Sequence[Address]:
        return tuple(self.offered)

    async def source(self, source: Address) -> SourceParams:
        return self.offered[source]


def source(
    *,
    environments: frozenset[Environment] = frozenset({Environment.NVIDIA}),
    status: SourceStatus = SourceStatus.ACTIVE,
    lockup: int = 150 * COIN,
) -> SourceParams:
    return SourceParams(
        address=SOURCE,
        client=ZERO_ADDRESS,
        metadata_url="https://example.org/ipfs/x",
        environments=environments,
        min_payment=0,
        min_available_lockup=lockup,
        max_expiry_duration=3600,
        delivery=DeliveryMethod.FIRST_RESPONSE,
        last_update=0,
        status=status,
    )


class FakeWeb:
    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}

    async def status(self, url: str) -> tuple[int, str]:
        return self.answers.get(url, (405, ""))


class FakeBooks:
    def __init__(self) -> None:
        self.key: Address | ProviderError | None = PROVIDER
        self.kept: JournalFacts | ProviderError | None = JournalFacts(TESTNET.chain_id, PROVIDER, 5)

    async def address(self) -> Address | None:
        if isinstance(self.key, ProviderError):
            raise self.key
        return self.key

    async def journal(self) -> JournalFacts | None:
        if isinstance(self.kept, ProviderError):
            raise self.kept
        return self.kept


HEALTHY = {
    "data_dir": str(DATA),
    "network": {"name": "testnet"},
    "wallet": {"password_file": "/etc/ogpu/password"},
    "sources": {"serve": [SOURCE]},
}


@dataclass
class FakeHost:
    """`set(section={key: value})` changes settings; everything else is a part with plain attributes."""

    settings: Settings = field(default_factory=lambda: Settings.model_validate(HEALTHY))
    network: Network = field(default_factory=lambda: replace(TESTNET, ws_url="wss://testnet.example.org"))
    clock: SteppingClock = field(default_factory=SteppingClock)
    files: FakeFiles = field(default_factory=FakeFiles)
    machine: FakeMachine = field(default_factory=FakeMachine)
    engine: FakeEngine = field(default_factory=FakeEngine)
    gpus: FakeGpus = field(default_factory=FakeGpus)
    web: FakeWeb = field(default_factory=FakeWeb)
    books: FakeBooks = field(default_factory=FakeBooks)

    def __post_init__(self) -> None:
        self.chain = FakeChain(self.clock)

    def set(self, **sections: dict[str, object]) -> None:
        tree: dict[str, object] = {**HEALTHY, **sections}
        self.settings = Settings.model_validate(tree)

    def engine_has(self, **facts: object) -> None:
        self.engine.about = replace(self.engine.about, **facts)  # type: ignore[arg-type]

    @property
    def context(self) -> Context:
        return Context(
            settings=self.settings,
            network=self.network,
            clock=self.clock,
            files=self.files,
            machine=self.machine,
            engine=self.engine,
            gpus=self.gpus,
            chain=self.chain,
            web=self.web,
            books=self.books,
        )
