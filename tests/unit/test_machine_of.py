"""What containers can have of the machine, wherever engine and daemon are."""

import os
import socket
from pathlib import Path

from ogpu_provider.hardware import machine_of
from ogpu_provider.runtime.container import EngineInfo
from ogpu_provider.runtime.engine import Engine

GIB = 1 << 30


class NamedEngine(Engine):
    """An engine of 16 processors and 64 GiB on a host of this name."""

    def __init__(self, name: str) -> None:
        super().__init__("unix:///nowhere.sock")
        self._name = name

    async def info(self) -> EngineInfo:
        return EngineInfo("28", "1.51", 16, 64 * GIB, (), "runc", (), name=self._name)


def limited(root: Path) -> Path:
    for name, text in {
        "cgroup.controllers": "cpu memory",
        "cpu.max": "250000 100000",
        "memory.max": str(4 * GIB),
    }.items():
        (root / name).write_text(text)
    return root


async def test_what_the_engine_has_is_what_containers_can_have(tmp_path: Path) -> None:
    assert await machine_of(NamedEngine(socket.gethostname()), tmp_path) == (16.0, 64 * GIB)


async def test_an_engine_in_our_container_has_its_limits(tmp_path: Path) -> None:
    assert await machine_of(NamedEngine(socket.gethostname()), limited(tmp_path)) == (2.5, 4 * GIB)


async def test_an_engine_outside_of_it_has_not(tmp_path: Path) -> None:
    assert await machine_of(NamedEngine("the-host"), limited(tmp_path)) == (16.0, 64 * GIB)


async def test_without_an_engine_it_is_this_host_and_its_limits(tmp_path: Path) -> None:
    cpus, memory = await machine_of(None, tmp_path)
    assert cpus == os.cpu_count()
    assert memory > GIB // 4
    cpus, memory = await machine_of(None, limited(tmp_path))
    assert cpus == min(2.5, float(os.cpu_count() or 1))
    assert memory <= 4 * GIB
