"""A real daemon on a host with cards: its driver is the fake library below the real binding, the rest is real."""

import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.control.client import ControlClient
from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.engine import remove_instance
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.errors import ControlError
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from tests.e2e.world import World
from tests.gpu.machine import Machine
from tests.waiting import open_when_there, sources_ready, until

pytestmark = [pytest.mark.devnet, pytest.mark.docker, pytest.mark.timeout(600)]
INSTANCE = f"gpu-{os.getpid()}"
SETTINGS: dict[str, dict[str, object]] = {
    "admission": {"min_time_left": 5.0},
    "devices": {"look_every": 0.5},
    "health": {"retest_after": 1.0},
    "runtime": {"instance": INSTANCE},
}
GIB = 1 << 30
FIRST = f"gpu|GPU-1|NVIDIA RTX 4090|{24 * GIB}|0|ok|off"
SECOND = f"gpu|GPU-2|NVIDIA RTX 3060|{12 * GIB}|0|ok|off"
WAIT_S = 90.0


class Entry(ProviderProcess):
    """What the daemon starts to ask the driver finds the fake library."""

    machine: Machine

    async def start(self, entry: Any = None) -> None:
        told = {name: self.machine.environment[name] for name in ("LD_LIBRARY_PATH", "FAKE_NVML_SCRIPT")}
        code = f"import os; os.environ.update({told!r}); from ogpu_provider.cli.main import main; main()"
        await super().start(("-c", code))


@pytest.fixture
async def world(tmp_path: Path, machine: Machine) -> AsyncIterator[World]:
    machine.script(FIRST)
    async with LocalNetwork(tmp_path) as network:
        made = network.describe()
        await pair_and_fund(network.node.rpc_url, network.deployment)
        key = accounts.role("client").private_key
        async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
            sources = {"multiply": Address(await publish_sample(network, client, "multiply"))}
            daemon = Entry(tmp_path, made, accounts.role("provider").private_key, SETTINGS)
            daemon.machine = machine
            try:
                async with daemon:
                    reader = await open_when_there(daemon)
                    await sources_ready(daemon, reader, set(sources.values()))
                    yield World(network, client, daemon, sources, reader)
                    await reader.close()
            finally:
                await remove_instance(INSTANCE)


async def seen(world: World, wanted: Callable[[dict[str, list[str]]], bool], what: str) -> dict[str, Any]:
    """The daemon's document of devices, once they are as wanted: ids with the codes of what they are withheld for."""

    async def look() -> dict[str, Any] | None:
        world.daemon.check()
        try:
            found: dict[str, Any] = await ControlClient(world.daemon.data_dir).ask("devices")
        except ControlError:
            return None  # it is starting
        devices = {each["id"]: [reason["code"] for reason in each["withheld"]] for each in found["devices"]}
        return found if wanted(devices) else None

    return await until(look, WAIT_S, what)


async def test_cards_of_a_real_daemon_from_hot_plug_to_hang(world: World, machine: Machine) -> None:
    found = await seen(world, lambda devices: devices == {"GPU-1": []}, "the first card")
    assert found["cpus"] >= 1

    machine.script(FIRST, SECOND)
    await seen(world, lambda devices: devices == {"GPU-1": [], "GPU-2": []}, "the card that came later")

    machine.script(FIRST, f"draw|{os.getpid()}|{6 * GIB}", SECOND)
    await seen(world, lambda devices: devices == {"GPU-1": ["gpu.foreign"], "GPU-2": []}, "the owner's game")
    machine.script(FIRST, SECOND)
    await seen(world, lambda devices: devices == {"GPU-1": [], "GPU-2": []}, "the end of the game")

    machine.xid("GPU-2", 79)
    await seen(world, lambda devices: devices == {"GPU-1": [], "GPU-2": ["gpu.cordoned"]}, "the cordon")
    status = await ControlClient(world.daemon.data_dir).ask("status")
    assert [(cordon["card"], cordon["code"]) for cordon in status["cordons"]] == [("GPU-2", "gpu.xid")]
    assert "ogpu_cards_cordoned 1.0" in await ControlClient(world.daemon.data_dir).ask("metrics")
    told = [json.loads(line) for line in world.daemon.log.read_text().splitlines() if "card_cordoned" in line]
    assert [(line["level"], line["card"]) for line in told] == [("error", "GPU-2")]

    await world.daemon.kill()
    await world.daemon.start()
    await seen(world, lambda devices: devices == {"GPU-1": [], "GPU-2": ["gpu.cordoned"]}, "the cordon after a kill")
    await ControlClient(world.daemon.data_dir).ask("devices.uncordon", card="GPU-2")
    await seen(world, lambda devices: devices == {"GPU-1": [], "GPU-2": []}, "the card that was given back")

    machine.script("driver|stuck", FIRST)
    await seen(world, lambda devices: devices["GPU-1"] == ["gpu.driver_hangs"], "the driver that hangs")
    task = await world.publish("multiply", "multiply", {"a": 6, "b": 7})
    await world.reaches(task, TaskState.SETTLED, timeout=WAIT_S)
    await seen(world, lambda devices: devices["GPU-1"] == ["gpu.driver_hangs"], "the driver that hangs still")
    machine.release()
    await seen(world, lambda devices: devices == {"GPU-1": []}, "the driver that answers again")
