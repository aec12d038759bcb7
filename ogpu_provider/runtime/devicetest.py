"""Does a container get a device, and does the device answer it? The test of a card that was out of use."""

import shlex

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.trial import Trial, attempt, lent

SECONDS = 60.0
_SMI = "/usr/bin/nvidia-smi"


async def try_device(engine: Engine, device: Device, *, seconds: float = SECONDS) -> None:
    """Give the device to a trial container. NVIDIA: the driver's own tool must find it there. AMD: its device files
    must open. Raises EngineError, `engine.device_failed` where the container ran and the device did not.
    """
    nvidia = device.environment is Environment.NVIDIA
    script = f"{lent(_SMI)} -L" if nvidia else " && ".join(f"exec 3<>{shlex.quote(node)}" for node in device.nodes)
    trial = Trial(f"{script} && echo {_GOOD}", nvidia=(device.id,) if nvidia else (), nodes=device.nodes)
    outcome = await attempt(engine, trial, seconds=seconds)
    if outcome.code == 0 and _GOOD in outcome.output and (not nvidia or device.id in outcome.output):
        return
    said = outcome.output.strip()[-300:] or f"it ended with {outcome.code}"
    text = f"{device.name} {device.id} does not work in a container: {said}"
    raise EngineError(text, code="engine.device_failed", retry=Retry.LATER)


_GOOD = "device-opened"
