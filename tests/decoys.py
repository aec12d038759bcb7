"""Other people's containers, which look much like ours, and which nobody may touch."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import docker

SLEEP = ["python3", "-c", "import time; time.sleep(86400)"]


@asynccontextmanager
async def decoys(instance: str) -> AsyncIterator[list[str]]:
    """Running containers, by name, made of the image of one that runs for `instance`."""
    names: list[str] = []
    client = docker.from_env(timeout=60)
    try:
        await asyncio.to_thread(_start, client, instance, names)
        yield names
    finally:
        await asyncio.to_thread(_remove, client, names)


def _start(client: docker.DockerClient, instance: str, names: list[str]) -> None:
    like = client.containers.list(filters={"label": f"ogpu.instance={instance}"})[0]
    image, source = str(like.attrs["Image"]), like.labels["ogpu.source"]
    kinds: tuple[dict[str, str], ...] = (
        {},
        {"ogpu.source": source},
        {"ogpu.instance": f"{instance}-b", "ogpu.source": source},
        {"ogpu.instance": instance[:-1], "ogpu.source": source},
    )
    for labels in kinds:
        names.append(f"decoy-{secrets.token_hex(4)}")
        client.containers.run(image, entrypoint=SLEEP, name=names[-1], labels=labels, network_mode="none", detach=True)


def _remove(client: docker.DockerClient, names: list[str]) -> None:
    for name in names:
        client.containers.get(name).remove(force=True)
    client.close()
