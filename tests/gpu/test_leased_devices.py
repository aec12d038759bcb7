"""From the card to the container: a source gets the environment and the devices that it was leased, no others."""

from typing import Any

import pytest

from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.check import EXAMPLE
from ogpu_provider.runtime.compose.gate import admit, fingerprint
from ogpu_provider.runtime.compose.render import Grant, Plan, render
from ogpu_provider.scheduler import amd
from ogpu_provider.scheduler.inventory import Inventory
from ogpu_provider.scheduler.reading import Reading
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.scheduler import HostScheduler
from tests.gpu.machine import AmdTree, Machine

CPU, NVIDIA, AMD = Environment.CPU, Environment.NVIDIA, Environment.AMD
A, B = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)
GIB = 1 << 30
BUSY = f"gpu|GPU-busy|NVIDIA RTX 4090|{24 * GIB}|{20 * GIB}|ok|off"
FREE = f"gpu|GPU-free|NVIDIA RTX 3060|{12 * GIB}|0|ok|off"
LOST = f"gpu|GPU-lost|NVIDIA RTX 5090|{32 * GIB}|0|lost|off"
OFFERED = frozenset({CPU, NVIDIA})
IMAGE = f"example/image@sha256:{'0' * 64}"

NVIDIA_FILE = f"""
services:
  front:
    image: {IMAGE}
    ports: ["${{PORT}}:5555"]
  model:
    image: {IMAGE}
    environment: {{ CUDA_DEVICE_ORDER: PCI_BUS_ID }}
    deploy: {{resources: {{reservations: {{devices: [{{driver: nvidia, count: all, capabilities: [gpu]}}]}}}}}}
"""
AMD_FILE = f"""
services:
  model:
    image: {IMAGE}
    ports: ["${{PORT}}:5555"]
    devices: [/dev/kfd, /dev/dri]
"""


async def seen(machine: Machine) -> HostScheduler:
    """A scheduler that knows the host as the real binding sees it."""

    async def read() -> Reading:
        return machine.read()

    return HostScheduler(await Inventory(4, (read,)).refresh(), AdmissionPolicy())


def rendered(text: str, environment: Environment, devices: tuple[Device, ...]) -> Plan:
    project = admit(text.encode(), environment, EXAMPLE)
    assert project.devices == len(devices)
    return render(
        project,
        Grant(
            instance="test",
            source=A,
            environment=environment,
            compose_sha256=fingerprint(text.encode()),
            variables=EXAMPLE,
            images={IMAGE: IMAGE},
            dispatch_host="127.0.0.1",
            gateway="172.17.0.1",
            devices=devices,
        ),
    )


def reserved(service: dict[str, Any]) -> list[list[str]]:
    reservations = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
    return [reservation["device_ids"] for reservation in reservations]


async def test_with_a_gpu_the_source_is_served_on_it(machine: Machine) -> None:
    machine.script(BUSY, FREE, LOST)
    scheduler = await seen(machine)
    environment = scheduler.choose_environment(OFFERED)
    assert environment is NVIDIA
    devices = scheduler.grant_devices(A, environment, 1)
    assert devices is not None
    assert [device.id for device in devices] == ["GPU-free"]


async def test_without_a_gpu_the_source_is_served_on_the_cpu(bare_machine: Machine) -> None:
    scheduler = await seen(bare_machine)
    assert scheduler.choose_environment(OFFERED) is CPU
    assert scheduler.choose_environment(frozenset({NVIDIA})) is None
    assert scheduler.grant_devices(A, CPU, 0) == ()


async def test_two_sources_never_share_a_gpu_and_a_third_waits(machine: Machine) -> None:
    machine.script(BUSY, FREE)
    scheduler = await seen(machine)
    granted = [scheduler.grant_devices(source, NVIDIA, 1) for source in (A, B)]
    assert [device.id for devices in granted if devices for device in devices] == ["GPU-free", "GPU-busy"]
    assert scheduler.grant_devices(Address("0x" + "cc" * 20), NVIDIA, 1) is None


async def test_instances_of_a_split_gpu_are_leased_one_by_one(machine: Machine) -> None:
    gpu = f"gpu|GPU-a|NVIDIA A100|{80 * GIB}|0|ok|on"
    machine.script(gpu, f"mig|MIG-1|MIG 3g|{40 * GIB}|0", f"mig|MIG-2|MIG 3g|{40 * GIB}|0")
    scheduler = await seen(machine)
    granted = [scheduler.grant_devices(source, NVIDIA, 1) for source in (A, B)]
    assert [device.id for devices in granted if devices for device in devices] == ["MIG-1", "MIG-2"]


async def test_the_project_names_exactly_the_leased_gpu(machine: Machine) -> None:
    """The author asks for all of them."""
    machine.script(BUSY, FREE)
    scheduler = await seen(machine)
    devices = scheduler.grant_devices(A, NVIDIA, 1)
    assert devices is not None
    plan = rendered(NVIDIA_FILE, NVIDIA, devices)
    assert reserved(plan.services["model"]) == [["GPU-free"]]
    assert reserved(plan.services["front"]) == []
    assert plan.services["model"]["environment"]["NVIDIA_VISIBLE_DEVICES"] == "GPU-free"
    assert plan.services["front"]["environment"]["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert b"GPU-busy" not in plan.text


def test_the_project_names_exactly_the_device_files_of_the_leased_amd_gpu(amd_tree: AmdTree) -> None:
    for index, address in enumerate(("0000:03:00.0", "0000:83:00.0")):
        memory = {"mem_info_vram_total": str(16 * GIB), "mem_info_vram_used": str((1 - index) * GIB)}
        amd_tree.add(index, address, render=128 + index, **memory)
    scheduler = HostScheduler(Host(4, amd.read(amd_tree.sys, amd_tree.dev).devices), AdmissionPolicy())
    assert scheduler.choose_environment(frozenset({CPU, AMD})) is AMD
    devices = scheduler.grant_devices(A, AMD, 1)
    assert devices is not None
    assert [device.id for device in devices] == ["0000:83:00.0"]
    model = rendered(AMD_FILE, AMD, devices).services["model"]
    assert [mapping.split(":")[0] for mapping in model["devices"]] == ["/dev/kfd", "/dev/dri/renderD129"]


def test_a_project_is_not_rendered_with_fewer_devices_than_it_needs() -> None:
    with pytest.raises(ValueError, match="1 devices needed, 0 leased"):
        render(
            admit(NVIDIA_FILE.encode(), NVIDIA, EXAMPLE),
            Grant("test", A, NVIDIA, "", EXAMPLE, {IMAGE: IMAGE}, "127.0.0.1", "172.17.0.1"),
        )
