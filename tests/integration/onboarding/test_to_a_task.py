"""From nothing to a finalised task: the guided registration, then the daemon it prepared, on a real engine."""

import asyncio
import re
import signal
import time
import tomllib
from pathlib import Path

import pytest

from ogpu_provider.devnet import accounts, tools
from ogpu_provider.devnet.engine import remove_instance
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.units import COIN
from tests.integration.onboarding.answers import answers_of
from tests.integration.onboarding.host import BareHost
from tests.integration.onboarding.nursery import Nursery
from tests.integration.onboarding.person import Person
from tests.waiting import until

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(600),
]
SETTINGS = '\n[runtime]\ninstance = "{}"\ncompose = {}\n\n[execution]\nresponse_margin = 4.0\n'


async def test_with_prompts_and_with_flags_to_a_finalised_task(nursery: Nursery, tmp_path: Path) -> None:
    async with LocalNetwork(tmp_path, block_time=0.5) as network:
        made, key = network.describe(), accounts.role("client").private_key
        async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
            source = await publish_sample(network, client, "multiply")
            payer = accounts.role("client")
            await BareHost(tmp_path, network, nursery).act(payer, "Vault", "deposit", payer.address, value=10 * COIN)
            async with asyncio.timeout(300):
                for number, by in enumerate((_prompts, _flags)):
                    host = BareHost(tmp_path / f"host{number}", network, nursery)
                    await host.prepare()
                    instance = f"sitting-{number}"
                    compose = str(await tools.ensure_compose()).replace("'", '"')
                    with host.config.open("a") as file:
                        file.write(SETTINGS.format(instance, compose))
                    await by(host, source)
                    try:
                        await _works(host, client, source)
                    finally:
                        await remove_instance(instance)


async def _prompts(host: BareHost, source: str) -> None:
    words = ("register", "--accept-warnings", "--config", str(host.config), "--wait", "60")
    person = Person(answers_of(host), marks={"Waiting for it on chain": host.sign_now})
    assert await host.at_terminal(person, *words, fresh=True) == 0, person.seen
    assert "What happens next" in person.seen
    _told_of_images(person.seen)


async def _flags(host: BareHost, source: str) -> None:
    done = await host.signed_by_master(*host.flags("--source", "all", pull=True), fresh=True)
    assert done.code == 0, done.err
    watch = re.search(r"watch it +ogpu-provider (status [^,]*),", done.out)
    assert watch is not None, done.out
    assert "daemon.not_running" in (await host.run(*watch[1].split())).out
    assert tomllib.loads(host.config.read_text())["sources"]["serve"] == [source]
    _told_of_images(done.out)


def _told_of_images(said: str) -> None:
    """Sizes from the registry's own manifest, and the image on this host, before the registration is sent."""
    assert re.search(r"download [1-9]\d* MiB, about [1-9]\d* MiB on disk", said), said
    assert 0 < said.index("Images: 127.0.0.1") < said.index("is here, sha256:") < said.index("Next: register to")


async def _works(host: BareHost, client: SdkClient, source: str) -> None:
    """The daemon, started as the summary says, does a task and is paid for it."""
    daemon = await host.start("run", "--config", str(host.config), fresh=True)
    try:

        async def serves() -> bool:
            if daemon.child.poll() is not None:
                raise AssertionError(await daemon.ended())
            listed = await host.run("sources", "--json", "--config", str(host.config))
            return listed.code == 0 and any(one["state"] == "ready" for one in listed.document)

        await until(serves, 120, "the source to be ready", pause=0.5)
        expiry = int(time.time() + 90)
        task = await client.call(
            "publish_task",
            source=source,
            function="multiply",
            data={"a": 6, "b": 7},
            expiry=expiry,
            payment=COIN // 100,
        )

        async def finalised() -> bool:
            view = await client.call("task", address=task)
            return bool(view["status"] == "FINALIZED" and view["winner"] == host.provider.address)

        await until(finalised, 120, "the task to be finalised")
        assert await host.ask("Vault", "totalEarningsOf", host.master.address) == COIN // 100
        assert (await host.said())["Registered"] == 1
    finally:
        if daemon.child.poll() is None:
            daemon.child.signal(signal.SIGTERM)
        await daemon.ended()
