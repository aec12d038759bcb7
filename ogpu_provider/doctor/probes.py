"""The real host behind the checks' ports. Blocking questions get threads of their own, which nobody has to wait for."""

import asyncio
import contextlib
import ctypes
import math
import os
import platform
import resource
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ogpu_provider.assembly import endpoints, network_of
from ogpu_provider.chain.networks import Network
from ogpu_provider.doctor.ports import Context, FileFacts, JournalFacts, Room
from ogpu_provider.doctor.probes_chain import NodeChain, PlainWeb
from ogpu_provider.doctor.probes_engine import DockerEngine
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import ProviderError, StoreError
from ogpu_provider.domain.units import Address

if TYPE_CHECKING:
    from ogpu_provider.scheduler.reading import Reading
    from ogpu_provider.settings import Settings

T = TypeVar("T")
_TEXT = 1 << 20
_OUTPUT = 64 << 10
_RUN_SECONDS = 10.0
_GPU_SECONDS = 8.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LIMITS = {"nofile": resource.RLIMIT_NOFILE, "core": resource.RLIMIT_CORE, "nproc": resource.RLIMIT_NPROC}
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFCHR: "device", stat.S_IFSOCK: "socket"}
_TIME_ERROR = 5  # adjtimex: the clock is not synchronised


@contextlib.asynccontextmanager
async def opened(settings: "Settings") -> AsyncIterator[Context]:
    """This host, as the checks see it. Raises ConfigError."""
    ends = endpoints(settings, network_of(settings))
    network = _main(ends)
    async with contextlib.AsyncExitStack() as stack:
        chain, web, engine = NodeChain(network, ends), PlainWeb(), DockerEngine(settings)
        for part in (chain, web, engine):
            stack.push_async_callback(part.aclose)
        yield Context(
            settings=settings,
            network=network,
            clock=SystemClock(),
            files=HostFiles(),
            machine=HostMachine(),
            engine=engine,
            gpus=HostGpus(),
            chain=chain,
            web=web,
            books=HostBooks(settings),
        )


def _main(ends: Sequence[Network]) -> Network:
    """The endpoint that is looked at closely: the first that speaks HTTP, with the first websocket there is."""
    first = next((end for end in ends if end.http_url), ends[0])
    return replace(first, ws_url=first.ws_url or next((end.ws_url for end in ends if end.ws_url), ""))


async def in_thread(work: Callable[[], T]) -> T:
    """Like asyncio.to_thread, but a call that never returns (a dead network disk) does not keep the process alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if not future.done():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # handed to whom it concerns
            failure = error
        with contextlib.suppress(RuntimeError):  # nobody waits any more, the loop is closed
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return await future


class HostFiles:
    async def stat(self, path: Path) -> FileFacts | None:
        def look() -> FileFacts | None:
            try:
                found = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            kind = _KINDS.get(stat.S_IFMT(found.st_mode), "other")
            mode = stat.S_IMODE(found.st_mode)
            return FileFacts(kind, mode, found.st_uid, found.st_gid, found.st_ino, found.st_dev)

        return await in_thread(look)

    async def text(self, path: Path) -> str | None:
        def read() -> str | None:
            try:
                with path.open("rb") as file:
                    return file.read(_TEXT).decode(errors="replace")
            except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
                return None

        return await in_thread(read)

    async def names(self, path: Path) -> tuple[str, ...]:
        def look() -> tuple[str, ...]:
            try:
                return tuple(sorted(os.listdir(path)))
            except (FileNotFoundError, NotADirectoryError):
                return ()

        return await in_thread(look)

    async def room(self, path: Path) -> Room:
        def look() -> Room:
            there = path
            while not there.exists() and there != there.parent:
                there = there.parent
            found = os.statvfs(there)
            inodes = found.f_favail / found.f_files if found.f_files else None
            return Room(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, inodes)

        return await in_thread(look)

    async def writable(self, path: Path) -> bool:
        return await in_thread(lambda: os.access(path, os.W_OK | os.X_OK))

    async def chmod(self, path: Path, mode: int) -> None:
        def change() -> None:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)

        await in_thread(change)

    async def mkdir(self, path: Path) -> None:
        await in_thread(lambda: path.mkdir(mode=0o700, parents=True, exist_ok=True))


class HostMachine:
    @property
    def uid(self) -> int:
        return os.geteuid()

    @property
    def groups(self) -> frozenset[int]:
        return frozenset({os.getegid(), *os.getgroups()})

    @property
    def cpus(self) -> int:
        return len(os.sched_getaffinity(0))

    @property
    def kernel(self) -> str:
        return platform.release()

    def limit(self, name: str) -> tuple[float, float]:
        soft, hard = (math.inf if v == resource.RLIM_INFINITY else v for v in resource.getrlimit(_LIMITS[name]))
        return soft, hard

    async def clock_synchronised(self) -> bool | None:
        try:
            adjtimex = ctypes.CDLL(None).adjtimex
        except (OSError, AttributeError):
            return None
        asked = ctypes.create_string_buffer(512)  # struct timex, all zero: nothing is changed
        state = int(adjtimex(asked))
        return None if state < 0 else state != _TIME_ERROR

    async def run(self, *words: str) -> tuple[int, str] | None:
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                env={"PATH": _PATH, "LC_ALL": "C"},
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError):
            return None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_RUN_SECONDS):
                output = bytearray()
                while chunk := await process.stdout.read(_OUTPUT):
                    output += chunk[: max(0, _TEXT - len(output))]
                return await process.wait(), output.decode(errors="replace")
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                await process.wait()

    async def bindable(self, host: str, port: int) -> str:
        try:
            _listener(host, port).close()
        except OSError as error:
            return error.strerror or str(error)
        return ""

    async def lend_listener(self, host: str, port: int) -> "SocketListener":
        listener = _listener(host, port)
        listener.listen()
        return SocketListener(listener)


class SocketListener:
    """The kernel completes connections to it; nobody has to accept them."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port = int(listener.getsockname()[1])

    async def close(self) -> None:
        self._listener.close()


def _listener(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the daemon's own server does
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


class HostGpus:
    """Each asked in a process of its own: a driver that hangs is a finding."""

    async def nvidia(self) -> "Reading":
        from ogpu_provider.scheduler import probe

        return await probe.once("nvidia", SystemClock(), deadline=_GPU_SECONDS)

    async def amd(self) -> "Reading":
        from ogpu_provider.scheduler import probe

        return await probe.once("amd", SystemClock(), deadline=_GPU_SECONDS)


class HostBooks:
    def __init__(self, settings: "Settings") -> None:
        self._settings = settings

    async def address(self) -> Address | None:
        from ogpu_provider.keys import keystore

        return await in_thread(lambda: keystore.address_of(self._settings.keystore))

    async def journal(self) -> JournalFacts | None:
        from ogpu_provider.store.reader import open_readonly

        try:
            reader = await open_readonly(self._settings.journal)
        except StoreError as error:
            if error.code == "store.missing":
                return None
            raise
        try:
            meta = await reader.meta()
            return JournalFacts(
                chain_id=int(meta["chain_id"]) if "chain_id" in meta else None,
                provider=meta.get("provider"),
                highest_nonce=await reader.highest_nonce(),
                damage=tuple(await reader.integrity_check()),
                ended=meta.get("ended", ""),
                cordons=tuple(await reader.cordons()),
            )
        finally:
            with contextlib.suppress(ProviderError):
                await reader.close()
