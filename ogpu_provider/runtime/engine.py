"""The container engine, behind its SDK. The only module that speaks to it; one method is one call, or a short chain.

Blocking calls run in threads, and each has a time limit, so that an engine which hangs costs a wait and no more.
Every error leaves as EngineError with a code: engine.unreachable (no answer, outcome unknown), engine.not_found,
engine.conflict, engine.failed (an answer that says no). Nothing is ever copied into or out of a container, and
nothing is executed in one: the engine's archive and exec calls have no place here.
"""

import asyncio
import contextlib
import ipaddress
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import docker
import docker.auth
import docker.errors
import requests.exceptions
from docker.types import CancellableStream

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.runtime.container import (
    Container,
    EngineEvent,
    EngineInfo,
    LocalImage,
    LocalVolume,
    container_of,
    image_of,
    info_of,
    volume_of,
)
from ogpu_provider.runtime.stream import follow

T = TypeVar("T")
Row = Mapping[str, Any]
_CALL_SECONDS = 60
_THREADS = 16


class Engine:
    """`host`: the engine's socket (`unix:///run/docker.sock`), None for the default one. Connects when first used.

    `call_seconds`: an engine that is silent for so long in one call is unreachable.
    """

    def __init__(self, host: str | None = None, *, call_seconds: int = _CALL_SECONDS) -> None:
        self._host = host
        self._call_seconds = call_seconds
        self._client: docker.APIClient | None = None
        self._lock = threading.Lock()
        # own threads: a stop takes its grace, and the loop's few shared ones must not wait for it
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="engine")

    @property
    def host(self) -> str | None:
        return self._host

    async def ping(self) -> None:
        """Returns if the engine answers."""
        await self.ask(lambda api: api.ping())

    async def info(self) -> EngineInfo:
        return info_of(*await self.details())

    async def details(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """All that the engine says about itself, as it says it: its `info` and its `version` document."""
        return await self.ask(lambda api: api.info()), await self.ask(lambda api: api.version())

    async def bridge_gateway(self) -> str:
        """The address under which containers reach this host: the default bridge's gateway, IPv4."""
        gateway = gateway_of(await self.network("bridge"))
        if gateway is None:
            raise EngineError("the engine has no IPv4 default bridge", code="engine.no_bridge", retry=Retry.NEVER)
        return gateway

    async def image(self, reference: str) -> LocalImage | None:
        """None if it is not on this host."""
        try:
            return image_of(await self.ask(lambda api: api.inspect_image(reference)))  # type: ignore[no-untyped-call]
        except EngineError as error:
            if error.code == "engine.not_found":
                return None
            raise

    async def pull(self, repository: str, digest: str, login: Mapping[str, str]) -> AsyncGenerator[Row]:
        """Fetch an image by digest and tell how it goes: the engine's own rows, and an empty one each silent second.

        The engine gives the pull up when nobody listens any more.
        """

        async with contextlib.aclosing(
            self._stream(lambda api: _fetch(api, repository, digest, login), "engine-pull")
        ) as rows:
            async for row in rows:
                yield row if row is not None else {}

    async def remove_image(self, reference: str) -> None:
        """Forget one name of an image, and the image if it was the last one. What a container needs stays."""
        await self.ask(lambda api: api.remove_image(reference, force=False))

    async def containers(self, labels: Mapping[str, str]) -> list[Container]:
        """Every container with all these labels, whatever its state."""
        found = []
        for row in await self.ask(lambda api: api.containers(all=True, filters={"label": _label_filter(labels)})):
            container = await self.container(row["Id"])
            # a filter that an engine does not know is no filter
            if container is not None and labels.items() <= container.labels.items():
                found.append(container)
        return found

    async def container(self, container: str) -> Container | None:
        """None if it is gone."""
        try:
            return container_of(await self.ask(lambda api: api.inspect_container(container)))
        except EngineError as error:
            if error.code == "engine.not_found":
                return None
            raise

    async def running(self, labels: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
        """Labels of the running containers that have all these, by id; one call, however many there are."""
        rows = await self.ask(lambda api: api.containers(filters={"label": _label_filter(labels)}))
        found = {row["Id"]: row.get("Labels") or {} for row in rows}
        return {container: has for container, has in found.items() if labels.items() <= has.items()}

    async def running_images(self, labels: Mapping[str, str]) -> dict[str, tuple[Mapping[str, str], str]]:
        """Labels of the running containers that have all these, and the name of the image that each was made from."""
        rows = await self.ask(lambda api: api.containers(filters={"label": _label_filter(labels)}))
        found = {row["Id"]: (row.get("Labels") or {}, str(row.get("Image") or "")) for row in rows}
        return {container: told for container, told in found.items() if labels.items() <= told[0].items()}

    async def processes(self, container: str) -> set[int]:
        """What runs in a container, by the engine's process ids; nothing if it is gone."""
        try:
            top = await self.ask(lambda api: api.top(container))
        except EngineError as error:
            if error.code in ("engine.not_found", "engine.conflict"):
                return set()
            raise
        place = [title.upper() for title in top.get("Titles") or ()].index("PID")
        return {int(row[place]) for row in top.get("Processes") or ()}

    async def container_images(self) -> set[str]:
        """The ids of all images that any container on this engine was made from, whoever made it."""
        return {str(row.get("ImageID")) for row in await self.ask(lambda api: api.containers(all=True))}

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

        return await self.ask(read)

    async def stop(self, container: str, *, grace: int) -> None:
        """Ask it to end, and insist after `grace` seconds."""
        await self.ask(lambda api: api.stop(container, timeout=grace))

    async def remove_container(self, container: str) -> None:
        """With its anonymous volumes. Raises `engine.conflict` while an earlier removal is under way."""
        await self.ask(lambda api: api.remove_container(container, v=True, force=True))

    async def networks(self, labels: Mapping[str, str]) -> list[Row]:
        rows = await self.ask(lambda api: api.networks(filters={"label": _label_filter(labels)}))
        return [row for row in rows if labels.items() <= (row.get("Labels") or {}).items()]

    async def network(self, name: str) -> Row:
        return await self.ask(lambda api: api.inspect_network(name))

    async def create_network(self, name: str, *, labels: Mapping[str, str], options: Mapping[str, str]) -> None:
        """A bridge of its own, IPv4 only, whose addresses the engine chooses."""
        await self.ask(
            lambda api: api.create_network(
                name, driver="bridge", labels=dict(labels), options=dict(options), check_duplicate=True
            )
        )

    async def remove_network(self, network: str) -> None:
        await self.ask(lambda api: api.remove_network(network))

    async def volumes(self, labels: Mapping[str, str], *, seconds: float) -> list[LocalVolume]:
        """Named volumes with these labels and their sizes. The engine walks through their files, so it gets a limit."""
        rows = await self.ask(lambda api: _measured_volumes(api, seconds))
        return [each for each in map(volume_of, rows) if labels.items() <= each.labels.items()]

    async def events(self, labels: Mapping[str, str]) -> AsyncGenerator[EngineEvent]:
        """Containers with these labels that die, run out of memory or fail their health check, from now on.

        The first item is an event with an empty action: the stream is open. Ends with EngineError.
        """
        actions = ["die", "oom", "health_status"]
        filters = {"type": "container", "event": actions, "label": _label_filter(labels)}
        opened = False
        async with contextlib.aclosing(
            self._stream(lambda api: api.events(filters=filters, decode=True), "engine-events")
        ) as rows:
            async for row in rows:
                if not opened:
                    opened = True
                    yield EngineEvent("", "", {})
                if row is not None:
                    actor = row.get("Actor", {})
                    yield EngineEvent(row.get("Action", ""), actor.get("ID", ""), actor.get("Attributes") or {})
        raise EngineError("the engine's event stream ended", code="engine.unreachable")

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ask(self, work: Callable[[docker.APIClient], T]) -> T:
        """Run blocking `work` on the engine's client, for the neighbours in this room. Raises EngineError only."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._guarded, work)

    def _stream(self, start: Callable[[docker.APIClient], Iterator[Row]], name: str) -> AsyncGenerator[Row | None]:
        return follow(lambda: self._guarded(start), name, seconds=self._call_seconds, lost=_silence)

    def _guarded(self, work: Callable[[docker.APIClient], T]) -> T:
        try:
            return work(self._connect())
        except docker.errors.APIError as error:
            code = {404: "engine.not_found", 409: "engine.conflict"}.get(error.status_code or 0, "engine.failed")
            retry = Retry.NEVER if code == "engine.not_found" else Retry.LATER
            raise EngineError(str(error.explanation or error)[:500], code=code, retry=retry) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            raise _silence(str(error)) from error

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


def _fetch(api: Any, repository: str, digest: str, login: Mapping[str, str]) -> Iterator[Row]:
    """A pull that ends in the engine, too, when its stream is closed; the SDK's own goes on."""
    response = api.post(
        api._url("/images/create"),
        params={"tag": digest, "fromImage": repository},
        headers={"X-Registry-Auth": docker.auth.encode_header(dict(login))},
        stream=True,
        timeout=None,
    )
    api._raise_for_status(response)
    stream: Iterator[Row] = CancellableStream(api._stream_helper(response, decode=True), response)
    return stream


def _measured_volumes(api: Any, seconds: float) -> list[Row]:
    """Volumes alone, where the engine can (1.42); the SDK's own asks for images and containers as well."""
    response = api.get(api._url("/system/df"), params={"type": "volume"}, timeout=seconds)
    api._raise_for_status(response)
    return list(response.json().get("Volumes") or ())


def gateway_of(network: Row) -> str | None:
    """The IPv4 address of the host in one of the engine's networks."""
    for config in network.get("IPAM", {}).get("Config") or ():
        with contextlib.suppress(ValueError):
            if gateway := config.get("Gateway"):
                return str(ipaddress.IPv4Address(gateway))
            return str(ipaddress.IPv4Network(config["Subnet"])[1])
    return None


def _silence(text: str) -> EngineError:
    return EngineError(
        f"the container engine does not answer: {text}",
        code="engine.unreachable",
        retry=Retry.LATER,
        remedy="check that the engine runs and that this user may use its socket",
    )


def _label_filter(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in labels.items()]
