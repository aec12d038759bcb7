"""The container engine, behind its SDK. The only module that speaks to it.

Blocking calls run in threads. Every error leaves as EngineError with a code: engine.unreachable (no answer),
engine.image_missing, engine.pull_failed, engine.failed (an answer that says no). No credentials of the operator are
used for registries: an image that needs them is none that a stranger may have run.
"""

import asyncio
import contextlib
import ipaddress
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import docker
import docker.errors
import requests.exceptions

from ogpu_provider.domain.errors import EngineError, Retry

T = TypeVar("T")
SERVICE_LABEL = "com.docker.compose.service"
_CALL_SECONDS = 60
_REMOVAL_SECONDS = 20.0
_THREADS = 16
_NO_CREDENTIALS: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """`memory` in bytes; `runtimes` by name."""

    version: str
    api: str
    cpus: int
    memory: int
    runtimes: tuple[str, ...]
    default_runtime: str
    security: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LocalImage:
    """`digests` are the pinned names under which the engine knows it (`repository@sha256:...`)."""

    id: str
    digests: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Container:
    """One container as inspected; `raw` is the engine's whole answer."""

    id: str
    service: str
    labels: Mapping[str, str]
    status: str
    exit_code: int
    oom_killed: bool
    raw: Mapping[str, Any]

    @property
    def running(self) -> bool:
        return self.status in ("running", "restarting")

    @property
    def ended(self) -> bool:
        return self.status in ("exited", "dead", "removing")


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """Something happened to a container: `action` is die or oom."""

    action: str
    container: str
    labels: Mapping[str, str]


class Engine:
    """`host`: the engine's socket (`unix:///run/docker.sock`), None for the default one. Connects when first used.

    `call_seconds`: an engine that is silent for so long in one call is unreachable.
    """

    def __init__(self, host: str | None = None, *, call_seconds: int = _CALL_SECONDS) -> None:
        self._host = host
        self._call_seconds = call_seconds
        self._client: docker.APIClient | None = None
        self._lock = threading.Lock()
        # own threads: a pull takes minutes, and the loop's few shared ones must not wait for it
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="engine")

    @property
    def host(self) -> str | None:
        return self._host

    async def info(self) -> EngineInfo:
        info = await self._call(lambda api: api.info())
        version = await self._call(lambda api: api.version())
        return EngineInfo(
            version=str(version.get("Version", "")),
            api=str(version.get("ApiVersion", "")),
            cpus=int(info.get("NCPU", 1)),
            memory=int(info.get("MemTotal", 0)),
            runtimes=tuple(info.get("Runtimes") or ()),
            default_runtime=str(info.get("DefaultRuntime", "")),
            security=tuple(info.get("SecurityOptions") or ()),
        )

    async def details(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """All that the engine says about itself, as it says it: its `info` and its `version` document."""
        return await self.ask(lambda api: api.info()), await self.ask(lambda api: api.version())

    async def bridge_gateway(self) -> str:
        """The address under which containers reach this host: the default bridge's gateway, IPv4."""
        network = await self._call(lambda api: api.inspect_network("bridge"))
        for config in network.get("IPAM", {}).get("Config") or ():
            with contextlib.suppress(ValueError):
                if gateway := config.get("Gateway"):
                    return str(ipaddress.IPv4Address(gateway))
                return str(ipaddress.IPv4Network(config["Subnet"])[1])
        raise EngineError("the engine has no IPv4 default bridge", code="engine.no_bridge", retry=Retry.NEVER)

    async def image(self, reference: str) -> LocalImage | None:
        try:
            found: Any = await self._call(lambda api: api.inspect_image(reference))  # type: ignore[no-untyped-call]
        except EngineError as error:
            if error.code == "engine.not_found":
                return None
            raise
        return LocalImage(found["Id"], tuple(found.get("RepoDigests") or ()), int(found.get("Size", 0)))

    async def registry_digest(self, reference: str) -> str:
        """What the registry has under a name now: `sha256:...` of its manifest."""
        try:
            answer: Any = await self._call(
                lambda api: api.inspect_distribution(reference, auth_config=_NO_CREDENTIALS)  # type: ignore[no-untyped-call]
            )
        except EngineError as error:
            missing = error.code == "engine.not_found"
            code = "engine.image_missing" if missing else "engine.pull_failed"
            raise EngineError(f"{reference}: {error}", code=code, retry=Retry.LATER) from error
        return str(answer["Descriptor"]["digest"])

    async def pull(
        self, repository: str, digest: str, *, seconds: float, progress: Callable[[str], None] | None = None
    ) -> None:
        """Fetch an image by digest. `progress` hears a line now and then, from another thread."""
        cancelled = threading.Event()
        name = f"{repository}@{digest}"

        def pull(api: docker.APIClient) -> None:
            stream = api.pull(repository, tag=digest, stream=True, decode=True, auth_config=_NO_CREDENTIALS)
            _follow(stream, name, time.monotonic() + seconds, cancelled, progress or (lambda _line: None))

        try:
            await self._call(pull)
        except EngineError as error:
            if error.code.startswith("engine.pull") or error.code == "engine.unreachable":
                raise
            missing = error.code == "engine.not_found"
            code = "engine.image_missing" if missing else "engine.pull_failed"
            raise EngineError(f"{name}: {error}", code=code, retry=Retry.LATER) from error
        finally:
            cancelled.set()

    async def containers(self, labels: Mapping[str, str]) -> list[Container]:
        """Every container with all these labels, whatever its state."""

        def find(api: docker.APIClient) -> list[Container]:
            found = []
            for row in api.containers(all=True, filters={"label": _label_filter(labels)}):
                with contextlib.suppress(docker.errors.NotFound):  # gone between the two calls
                    found.append(_container(api.inspect_container(row["Id"])))
            return found

        return await self._call(find)

    async def logs(self, container: str, *, since: float, limit: int) -> bytes:
        """The last `limit` bytes that a container printed since a unix time, with the engine's timestamps."""

        def read(api: docker.APIClient) -> bytes:
            stream = api.logs(container, since=max(since, 0.001), timestamps=True, stream=True, follow=False)
            kept: deque[bytes] = deque()
            size = 0
            for chunk in stream:
                kept.append(chunk)
                size += len(chunk)
                while size - len(kept[0]) >= limit:
                    size -= len(kept.popleft())
            return b"".join(kept)[-limit:]

        return await self._call(read)

    async def remove(self, labels: Mapping[str, str], *, grace: int) -> int:
        """Stop and remove the containers and networks with these labels; named volumes stay. Returns how many.

        `labels` must not be empty: what is not labelled is not ours.
        """
        if not labels:
            raise ValueError("no labels: everything would be removed")

        def remove(api: docker.APIClient) -> int:
            filters = {"label": _label_filter(labels)}
            found = [row["Id"] for row in api.containers(all=True, filters=filters)]
            with contextlib.ExitStack() as stack:
                stops = [threading.Thread(target=_stop, args=(api, each, grace), daemon=True) for each in found]
                for thread in stops:
                    thread.start()
                    stack.callback(thread.join)
            for each in found:
                _remove(api, each)
            for network in api.networks(filters=filters):
                with contextlib.suppress(docker.errors.NotFound):
                    api.remove_network(network["Id"])
            return len(found)

        return await self._call(remove)

    async def events(self, labels: Mapping[str, str]) -> AsyncIterator[EngineEvent]:
        """Containers with these labels that die or run out of memory, from now on.

        The first item is an event with an empty action: the stream is open. Ends with EngineError.
        """
        filters = {"type": "container", "event": ["die", "oom"], "label": _label_filter(labels)}
        stream = await self._call(lambda api: api.events(filters=filters, decode=True))
        arrived: asyncio.Queue[EngineEvent | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def read() -> None:
            with contextlib.suppress(Exception):  # whatever ended the stream: the reader hears that it ended
                for row in stream:
                    actor = row.get("Actor", {})
                    event = EngineEvent(row.get("Action", ""), actor.get("ID", ""), actor.get("Attributes") or {})
                    loop.call_soon_threadsafe(arrived.put_nowait, event)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(arrived.put_nowait, None)

        threading.Thread(target=read, name="engine-events", daemon=True).start()
        try:
            yield EngineEvent("", "", {})
            while (event := await arrived.get()) is not None:
                yield event
            raise EngineError("the engine's event stream ended", code="engine.unreachable")
        finally:
            with contextlib.suppress(Exception):
                stream.close()

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ask(self, work: Callable[[docker.APIClient], T]) -> T:
        """Run blocking `work` on the engine's client, for the neighbours in this room. Raises EngineError only."""
        return await self._call(work)

    async def _call(self, work: Callable[[docker.APIClient], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._guarded, work)

    def _guarded(self, work: Callable[[docker.APIClient], T]) -> T:
        try:
            return work(self._connect())
        except docker.errors.NotFound as error:
            raise EngineError(_explain(error), code="engine.not_found", retry=Retry.NEVER) from error
        except docker.errors.APIError as error:
            raise EngineError(_explain(error)) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            raise EngineError(
                f"the container engine does not answer: {error}",
                code="engine.unreachable",
                retry=Retry.LATER,
                remedy="check that the engine runs and that this user may use its socket",
            ) from error

    def _connect(self) -> docker.APIClient:
        with self._lock:
            if self._client is None:
                self._client = docker.APIClient(
                    base_url=self._host or "unix:///var/run/docker.sock",
                    version="auto",
                    timeout=self._call_seconds,
                    max_pool_size=32,
                )
            return self._client


def _follow(
    stream: Iterator[Mapping[str, Any]],
    name: str,
    deadline: float,
    cancelled: threading.Event,
    progress: Callable[[str], None],
) -> None:
    """Read a pull to its end. The socket's own time limit wakes us while nothing arrives."""
    done: dict[str, int] = {}
    total: dict[str, int] = {}
    told = time.monotonic()
    for row in _rows(stream, deadline, cancelled):
        if message := row.get("error"):
            raise EngineError(f"{name}: {message}", code="engine.pull_failed", retry=Retry.LATER)
        detail = row.get("progressDetail") or {}
        if "id" in row and detail.get("total"):
            done[row["id"]], total[row["id"]] = int(detail.get("current", 0)), int(detail["total"])
        if time.monotonic() - told > 5:
            told = time.monotonic()
            progress(f"{sum(done.values()) >> 20} of {sum(total.values()) >> 20} MiB")
    if cancelled.is_set():
        raise EngineError(f"{name}: the pull was given up", code="engine.pull_failed", retry=Retry.LATER)


def _rows(
    stream: Iterator[Mapping[str, Any]], deadline: float, cancelled: threading.Event
) -> Iterator[Mapping[str, Any]]:
    """The rows of a stream, given up at a deadline even if none comes."""
    rows: queue.SimpleQueue[Mapping[str, Any] | Exception | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for row in stream:
                rows.put(row)
                if cancelled.is_set():
                    return
            rows.put(None)
        except Exception as error:  # handed to the thread that waits
            rows.put(error)

    threading.Thread(target=read, name="engine-pull", daemon=True).start()
    while not cancelled.is_set():
        try:
            row = rows.get(timeout=max(0.0, min(1.0, deadline - time.monotonic())))
        except queue.Empty:
            if time.monotonic() >= deadline:
                cancelled.set()
                text = "the image was not there in time"
                raise EngineError(text, code="engine.pull_timeout", retry=Retry.LATER) from None
            continue
        if row is None:
            return
        if isinstance(row, Exception):
            raise row
        yield row


def _stop(api: docker.APIClient, container: str, grace: int) -> None:
    with contextlib.suppress(docker.errors.APIError, requests.exceptions.RequestException):
        api.stop(container, timeout=grace)


def _remove(api: docker.APIClient, container: str) -> None:
    """It may be on its way out already: an earlier call that was canceled here goes on in the engine. Wait for that."""
    try:
        api.remove_container(container, v=True, force=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != 409:
            raise
        give_up = time.monotonic() + _REMOVAL_SECONDS
        while time.monotonic() < give_up:
            try:
                api.inspect_container(container)
            except docker.errors.NotFound:
                return
            time.sleep(0.1)
        raise


def _label_filter(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in labels.items()]


def _container(raw: Mapping[str, Any]) -> Container:
    state = raw.get("State") or {}
    labels = (raw.get("Config") or {}).get("Labels") or {}
    return Container(
        id=raw["Id"],
        service=labels.get(SERVICE_LABEL, ""),
        labels=labels,
        status=str(state.get("Status", "")),
        exit_code=int(state.get("ExitCode", 0)),
        oom_killed=bool(state.get("OOMKilled")),
        raw=raw,
    )


def _explain(error: docker.errors.APIError) -> str:
    return str(error.explanation or error)[:500]
