"""Stopping and removing what is ours: by labels, each thing looked at again before it goes."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.runtime.container import Container
from ogpu_provider.runtime.engine import Engine

_REMOVAL_SECONDS = 20.0
_PAUSE = 0.1


async def remove(engine: Engine, labels: Mapping[str, str], *, grace: int) -> int:
    """Stop and remove the containers and networks with these labels; named volumes stay. Returns how many containers.

    `labels` must not be empty: what is not labelled is not ours.
    """
    if not labels:
        raise ValueError("no labels: everything would be removed")
    found = await engine.containers(labels)
    await remove_containers(engine, found, grace=grace)
    for network in await engine.networks(labels):
        await remove_network(engine, network["Id"])
    return len(found)


async def remove_containers(engine: Engine, containers: Sequence[Container], *, grace: int) -> None:
    """All at once: a project's containers do not wait for each other's grace."""
    await asyncio.gather(*(_stop(engine, each, grace) for each in containers))
    for each in containers:
        await _remove(engine, each.id)


async def remove_network(engine: Engine, network: str) -> None:
    """Gone already is as good."""
    try:
        await engine.remove_network(network)
    except EngineError as error:
        if error.code != "engine.not_found":
            raise


async def _stop(engine: Engine, container: Container, grace: int) -> None:
    if container.running or container.status == "paused":
        with contextlib.suppress(EngineError):  # removal insists
            await engine.stop(container.id, grace=grace)


async def _remove(engine: Engine, container: str) -> None:
    """It may be on its way out already: an earlier call that was canceled here goes on in the engine. Wait for that."""
    try:
        await engine.remove_container(container)
    except EngineError as error:
        if error.code == "engine.not_found":
            return
        if error.code != "engine.conflict":
            raise
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _REMOVAL_SECONDS
        while loop.time() < give_up:
            if await engine.container(container) is None:
                return
            await asyncio.sleep(_PAUSE)
        raise
