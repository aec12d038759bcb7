"""NVIDIA GPUs, through NVML. The only file that touches pynvml; everything else sees plain structs.

NVML lists the cards once, when it is initialised, so every reading initialises anew: that is how a card, a driver or
a whole library that came later is noticed. In between the session stays open, for NVML tells Xid errors only to who
listens when they happen. From one session to the next the cards' device files are held open: a driver without
persistence mode lets go of a card that nobody has open, which takes seconds and begins its counters anew. Blocking,
and a driver may hang or crash: it runs in a process of its own (`surveyor`).
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pynvml

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.reading import DeviceReading, Gauges, GpuProcess, Reading
from ogpu_provider.scheduler.sysfs import entries

_UNSUPPORTED = frozenset({pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND})
"""The card or the driver does not know the question; not a fault."""
_GONE = frozenset({pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED})
_MOST_EVENTS = 1000
_NODE = re.compile(r"nvidia\d+")
_THROTTLES = {
    "software power cap": pynvml.nvmlClocksEventReasonSwPowerCap,
    "hardware slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
    "software thermal slowdown": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    "hardware thermal slowdown": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "power brake": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
}


class Nvml:
    """A session that listens for Xid errors from one reading to the next."""

    def __init__(self, dev_root: Path = Path("/dev")) -> None:
        self._dev_root = dev_root
        self._open = False
        self._events: Any = None

    def read(self) -> Reading:
        """The NVIDIA devices of this host. Never raises: what cannot be used is left out and explained."""
        xids = self._heard()
        with self._held():
            return self._anew(xids)

    def _anew(self, xids: dict[str, tuple[int, ...]]) -> Reading:
        self._close()
        found: list[DeviceReading] = []
        problems: list[Reason] = []
        driver = ""
        try:
            pynvml.nvmlInit()
            self._open = True
            driver = _optional(pynvml.nvmlSystemGetDriverVersion, "")
            self._events = _optional(pynvml.nvmlEventSetCreate, None)
            for index in range(pynvml.nvmlDeviceGetCount()):
                self._add(found, problems, index, xids)
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
                problems.append(Reason("gpu.no_driver", "the NVIDIA library is there, but its driver is not loaded"))
            elif error.value != pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
                problems.append(Reason("gpu.driver_unusable", f"the NVIDIA driver does not answer: {error}"))
        return Reading(tuple(found), tuple(problems), driver)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Keep the driver's hold of the cards while one session ends and the next begins."""
        files = []
        for path in entries(self._dev_root, _NODE) if self._open else ():
            with contextlib.suppress(OSError):
                files.append(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
        try:
            yield
        finally:
            for file in files:
                os.close(file)

    def _close(self) -> None:
        if self._open:
            self._open = False
            with contextlib.suppress(pynvml.NVMLError):
                if self._events is not None:
                    pynvml.nvmlEventSetFree(self._events)
            self._events = None
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def _heard(self) -> dict[str, tuple[int, ...]]:
        """Xid errors since the last reading, by the card's UUID."""
        found: dict[str, tuple[int, ...]] = {}
        if self._events is None:
            return found
        with contextlib.suppress(pynvml.NVMLError):  # a timeout says that there is no more
            for _ in range(_MOST_EVENTS):
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
                if event.eventType == pynvml.nvmlEventTypeXidCriticalError:
                    uuid = _of(pynvml.nvmlDeviceGetUUID, event.device) or ""
                    found[uuid] = (*found.get(uuid, ()), int(event.eventData))
        return found

    def _add(
        self, found: list[DeviceReading], problems: list[Reason], index: int, xids: dict[str, tuple[int, ...]]
    ) -> None:
        """Add the devices at one index whole, or none and a problem: a card can be lost between two questions."""
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            devices = list(_devices(handle, xids))
            if self._events is not None:
                _quiet(
                    lambda: pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._events),
                    None,
                )
        except pynvml.NVMLError as error:
            code = "gpu.lost" if error.value in _GONE else "gpu.unreadable"
            problems.append(Reason(code, f"NVIDIA GPU {index} is left out: {error}"))
            return
        if not devices:
            text = f"NVIDIA GPU {index} is left out: MIG is on, but it has no instances"
            problems.append(Reason("gpu.no_instances", text))
        found.extend(devices)


def _devices(handle: Any, xids: dict[str, tuple[int, ...]]) -> Iterator[DeviceReading]:
    """The card, or its MIG instances if it is split."""
    uuid = pynvml.nvmlDeviceGetUUID(handle)
    gauges, heard = _gauges(handle), xids.get(uuid, ())
    if not _mig_enabled(handle):
        yield DeviceReading(_device(handle, "NVIDIA GPU"), gauges, _processes(handle), heard)
        return
    parent = _optional(lambda: pynvml.nvmlDeviceGetName(handle), "NVIDIA GPU")
    for slot in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, slot)
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_NOT_FOUND:
                continue  # slots are numbered with gaps
            raise
        yield DeviceReading(_device(instance, f"{parent} MIG", uuid), gauges, _processes(instance), heard)


def _device(handle: Any, fallback_name: str, part_of: str = "") -> Device:
    uuid: str = pynvml.nvmlDeviceGetUUID(handle)
    name = _optional(lambda: pynvml.nvmlDeviceGetName(handle), fallback_name)
    memory = _optional(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle), None)
    total, used = (int(memory.total), int(memory.used)) if memory is not None else (0, 0)
    return Device(uuid, Environment.NVIDIA, name, total, used, part_of=part_of)


def _gauges(handle: Any) -> Gauges:
    """An instrument that fails does not take the card out; a lost card does."""
    nv = pynvml
    use = _quiet(lambda: nv.nvmlDeviceGetUtilizationRates(handle), None)
    rows = _quiet(lambda: nv.nvmlDeviceGetRemappedRows(handle), None)
    slowdown = nv.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
    memory = _quiet(lambda: nv.nvmlDeviceGetMemoryInfo(handle, version=nv.nvmlMemory_v2), None)
    return Gauges(
        memory_reserved=None if memory is None else int(memory.reserved),
        utilisation=None if use is None else float(use.gpu),
        memory_utilisation=None if use is None else float(use.memory),
        temperature=_quiet(lambda: nv.nvmlDeviceGetTemperature(handle, nv.NVML_TEMPERATURE_GPU), None),
        temperature_slowdown=_quiet(lambda: nv.nvmlDeviceGetTemperatureThreshold(handle, slowdown), None),
        power=_milli(lambda: nv.nvmlDeviceGetPowerUsage(handle)),
        power_limit=_milli(lambda: nv.nvmlDeviceGetEnforcedPowerLimit(handle)),
        energy=_milli(lambda: nv.nvmlDeviceGetTotalEnergyConsumption(handle)),
        clock=_of(nv.nvmlDeviceGetClockInfo, handle, nv.NVML_CLOCK_SM),
        clock_max=_of(nv.nvmlDeviceGetMaxClockInfo, handle, nv.NVML_CLOCK_SM),
        clock_memory=_of(nv.nvmlDeviceGetClockInfo, handle, nv.NVML_CLOCK_MEM),
        clock_memory_max=_of(nv.nvmlDeviceGetMaxClockInfo, handle, nv.NVML_CLOCK_MEM),
        throttled=_throttled(handle),
        pcie_width=_quiet(lambda: nv.nvmlDeviceGetCurrPcieLinkWidth(handle), None),
        pcie_width_max=_quiet(lambda: nv.nvmlDeviceGetMaxPcieLinkWidth(handle), None),
        pcie_generation=_quiet(lambda: nv.nvmlDeviceGetCurrPcieLinkGeneration(handle), None),
        ecc_corrected=_of(
            nv.nvmlDeviceGetTotalEccErrors, handle, nv.NVML_MEMORY_ERROR_TYPE_CORRECTED, nv.NVML_VOLATILE_ECC
        ),
        ecc_uncorrected=_of(
            nv.nvmlDeviceGetTotalEccErrors, handle, nv.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nv.NVML_VOLATILE_ECC
        ),
        rows_failed=None if rows is None else bool(rows[3]),
    )


def _throttled(handle: Any) -> tuple[str, ...]:
    """The newer name of the question first; older drivers know the older one."""
    mask = _quiet(lambda: pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle), None)
    if mask is None:
        mask = _quiet(lambda: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle), 0)
    return tuple(name for name, bit in _THROTTLES.items() if mask & bit)


def _milli(ask: Callable[[], Any]) -> float | None:
    thousandths = _quiet(ask, None)
    return None if thousandths is None else thousandths / 1000


def _of(ask: Callable[..., Any], *words: Any) -> Any:
    return _quiet(lambda: ask(*words), None)


def _mig_enabled(handle: Any) -> bool:
    current, _pending = _optional(lambda: pynvml.nvmlDeviceGetMigMode(handle), (pynvml.NVML_DEVICE_MIG_DISABLE, 0))
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _processes(handle: Any) -> tuple[GpuProcess, ...]:
    """Old drivers and unprivileged daemons may not list them. Who draws and computes is one that computes."""
    computing = _quiet(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle), [])
    drawing = _quiet(lambda: pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3(handle), [])
    found = {each.pid: GpuProcess(each.pid, each.usedGpuMemory, graphics=True) for each in drawing}
    found |= {each.pid: GpuProcess(each.pid, each.usedGpuMemory) for each in computing}
    return tuple(found[pid] for pid in sorted(found))


def _optional(ask: Callable[[], Any], default: Any) -> Any:
    try:
        return ask()
    except pynvml.NVMLError as error:
        if error.value in _UNSUPPORTED:
            return default
        raise


def _quiet(ask: Callable[[], Any], default: Any) -> Any:
    """Like `_optional`, for what may fail in any way short of losing the card."""
    try:
        return ask()
    except pynvml.NVMLError as error:
        if error.value in _GONE:
            raise
        return default
