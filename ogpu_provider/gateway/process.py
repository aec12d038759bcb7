"""One run of the gateway, in two processes: this one has the key and publishes, the other one answers.

So an answer never waits for a block's hundred facts, and what strangers send is parsed where no key is. Both work on
one database; they end together, and either may be killed at any moment. It shares no key and no file with the daemon.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from ogpu_provider import config
from ogpu_provider.assembly import client_rules, day_cap, network_of
from ogpu_provider.chain.networks import Network
from ogpu_provider.domain.errors import ConfigError, GatewayError, ProviderError
from ogpu_provider.domain.together import first_of
from ogpu_provider.domain.units import Address
from ogpu_provider.gateway.address import taken
from ogpu_provider.gateway.line import Line
from ogpu_provider.gateway.publishing import Publishing, publishing
from ogpu_provider.keys import keystore
from ogpu_provider.keys.claim import claimed
from ogpu_provider.keys.signer import Signer
from ogpu_provider.settings import Settings
from ogpu_provider.store.orders import GatewayStore

log = structlog.get_logger(__name__)
LEAVING_S = 15.0
"""For answers that are under way when the gateway ends."""


async def run(settings: Settings, file: Path | None = None) -> None:
    """Serve until canceled. `file`: where the settings are from, for the other process.

    Raises ProviderError for what keeps the gateway from starting, or makes it end.
    """
    failed: ProviderError | None = None
    try:
        await _run(settings, file)
    except* ProviderError as errors:
        failed = first_of(errors)
    if failed is not None:
        raise failed


async def _run(settings: Settings, file: Path | None) -> None:
    network = network_of(settings)
    signer = await open_signer(settings, network)
    store = await GatewayStore.open(settings.gateway_database, chain_id=network.chain_id, client=signer.address)
    try:
        with claimed(network.scope, signer.address):
            at = await taken(settings.gateway.host, settings.gateway.port)
            log.info("gateway_starts", client=signer.address, network=network.name, port=at.getsockname()[1])
            async with (
                answering(at, network, signer.address, file) as (line, process),
                publishing(settings, network, signer, store, line) as half,
                asyncio.TaskGroup() as group,
            ):
                group.create_task(half.run(), name="publishing")
                group.create_task(_answers(process, line, half), name="answering")
    finally:
        await store.close()


async def open_signer(settings: Settings, network: Network) -> Signer:
    """Unlock the gateway's own key. Raises KeyRefused and ConfigError."""
    password = config.gateway_password(settings.gateway)
    if password is None:
        raise ConfigError(
            "the settings do not say where the gateway keystore's password is",
            code="config.password",
            remedy="set gateway.password_file",
        )
    key = await keystore.unlock(settings.gateway_keystore, password.reveal())
    return Signer(key, client_rules(settings, network, key.address), day_cap=day_cap(settings))


@asynccontextmanager
async def answering(
    at: socket.socket, network: Network, client: Address, file: Path | None
) -> AsyncIterator[tuple[Line, asyncio.subprocess.Process]]:
    """The other process, which ends with the line to it. It inherits the listening socket, and no key."""
    ours, theirs = socket.socketpair()
    with at, theirs:
        words = (str(theirs.fileno()), str(at.fileno()), *([str(file)] if file else []))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ogpu_provider.gateway.answering",
            *words,
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), at.fileno()),
        )
    line = await Line.over(ours)
    line.tell("begin", network=asdict(network), client=client)
    try:
        yield line, process
    finally:
        line.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), LEAVING_S)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _answers(process: asyncio.subprocess.Process, line: Line, half: Publishing) -> None:
    """Take what the other half tells, until it is gone. Raises ProviderError with its reason, if it gave one."""
    async with asyncio.TaskGroup() as group:
        async for told in line.messages():
            if told["what"] == "failed":
                raise _error(told)
            if told["what"] == "ready":
                log.info("gateway_started")
            group.create_task(half.take(told))
    await process.wait()
    raise GatewayError(f"the half that answers ended by itself ({process.returncode})", code="gateway.half")


def _error(told: dict[str, Any]) -> ProviderError:
    kind = ConfigError if told["kind"] == ConfigError.__name__ else GatewayError
    return kind(told["text"], code=told["code"], remedy=told["remedy"])
