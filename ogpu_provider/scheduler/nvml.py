"""NVIDIA GPUs, through NVML. The only file that touches pynvml; everything else sees plain structs.

NVML lists the cards once, when it is initialised, so every survey initialises anew: that is how a card, a driver or
a whole library that came later is noticed. Blocking; call it in a thread.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pynvml

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.reading import Reading

_UNSUPPORTED = frozenset({pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND})
"""The card or the driver does not know the question; not a fault."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a card. `memory` in bytes, None where the driver does not tell."""

    pid: int
    memory: int | None


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU, or one of its MIG instances if it is split. Memory in bytes, 0 where the card does not tell."""

    uuid: str
    name: str
    memory_total: int
    memory_used: int
    processes: tuple[GpuProcess, ...] = ()


@dataclass(slots=True)
class Survey:
    driver: str = ""
    cards: list[Card] = field(default_factory=list)
    problems: list[Reason] = field(default_factory=list)


def read() -> Reading:
    """The NVIDIA devices of this host. Never raises: what cannot be used is left out and explained."""
    found = survey()
    devices = (Device(c.uuid, Environment.NVIDIA, c.name, c.memory_total, c.memory_used) for c in found.cards)
    return Reading(tuple(devices), tuple(found.problems))


def survey() -> Survey:
    """Ask NVML for everything at once. Never raises."""
    found = Survey()
    try:
        with _session():
            found.driver = _optional(pynvml.nvmlSystemGetDriverVersion, "")
            for index in range(pynvml.nvmlDeviceGetCount()):
                _add_gpu(found, index)
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
            found.problems.append(Reason("gpu.no_driver", "the NVIDIA library is there, but its driver is not loaded"))
        elif error.value != pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            found.problems.append(Reason("gpu.driver_unusable", f"the NVIDIA driver does not answer: {error}"))
    return found


@contextlib.contextmanager
def _session() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _add_gpu(found: Survey, index: int) -> None:
    """Add the cards at one index whole, or none of them and a problem: a card can fall off between two questions."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        if not _mig_enabled(handle):
            found.cards.append(_card(handle))
            return
        instances = _instances(handle)
    except pynvml.NVMLError as error:
        code = "gpu.lost" if error.value == pynvml.NVML_ERROR_GPU_IS_LOST else "gpu.unreadable"
        found.problems.append(Reason(code, f"NVIDIA GPU {index} is left out: {error}"))
        return
    if not instances:
        text = f"NVIDIA GPU {index} is left out: MIG is on, but it has no instances"
        found.problems.append(Reason("gpu.no_instances", text))
    found.cards.extend(instances)


def _card(handle: Any, *, fallback_name: str = "NVIDIA GPU") -> Card:
    uuid: str = pynvml.nvmlDeviceGetUUID(handle)
    name = _optional(lambda: pynvml.nvmlDeviceGetName(handle), fallback_name)
    memory = _optional(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle), None)
    total, used = (int(memory.total), int(memory.used)) if memory is not None else (0, 0)
    return Card(uuid, name, total, used, _processes(handle))


def _instances(handle: Any) -> list[Card]:
    parent = _optional(lambda: pynvml.nvmlDeviceGetName(handle), "NVIDIA GPU")
    cards = []
    for slot in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, slot)
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_NOT_FOUND:
                continue  # slots are numbered with gaps
            raise
        cards.append(_card(instance, fallback_name=f"{parent} MIG"))
    return cards


def _mig_enabled(handle: Any) -> bool:
    current, _pending = _optional(lambda: pynvml.nvmlDeviceGetMigMode(handle), (pynvml.NVML_DEVICE_MIG_DISABLE, 0))
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _processes(handle: Any) -> tuple[GpuProcess, ...]:
    try:
        listed = pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
            raise
        return ()  # only shown to people; old drivers and unprivileged daemons may not list them
    return tuple(GpuProcess(p.pid, p.usedGpuMemory) for p in listed)


def _optional(ask: Callable[[], Any], default: Any) -> Any:
    try:
        return ask()
    except pynvml.NVMLError as error:
        if error.value in _UNSUPPORTED:
            return default
        raise
