"""Memory of devices as containers use it: which container a process belongs to, and who says that it ran out."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.project import Occupant
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.tenancy import homes

OUT_OF_MEMORY = "engine.device_memory"
_COMPLAINTS = re.compile(
    rb"CUDA out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation"
    rb"|HIP out of memory|hipErrorOutOfMemory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED"
    rb"|RESOURCE_EXHAUSTED: Out of memory|cudaMalloc failed: out of memory|failed to allocate (?:CUDA|ROCm)\d* buffer",
    re.IGNORECASE,
)
"""What PyTorch, TensorFlow, JAX, ONNX Runtime, llama.cpp and the drivers print. A handler that fails sends no result,
so its output is all there is; a source that only pretends is paused, which costs nobody but itself."""
_READ = 64 << 10
_SHOWN = 200


async def occupants(
    engine: Engine, instance: str, pids: Collection[int], proc: Path = Path("/proc")
) -> dict[int, Occupant]:
    """Which source's container each of these processes is in; those of nobody's are left out. Raises EngineError."""
    if not pids:
        return {}
    containers = {
        container: Occupant(Address(labels[render.SOURCE]), image.rpartition("@")[2], container)
        for container, (labels, image) in (await engine.running_images({render.INSTANCE: instance})).items()
        if labels.get(render.SOURCE) and "@sha256:" in image
    }
    found: dict[int, Occupant] = {}
    unread = set()
    for pid in pids:
        home = homes(pid, proc)
        if home is None:
            unread.add(pid)
        else:
            found.update((pid, containers[container]) for container in home & containers.keys())
    if unread:
        for container, occupant in containers.items():
            found |= dict.fromkeys(unread & await engine.processes(container), occupant)
    return found


async def complaint(engine: Engine, labels: Mapping[str, str], since: float) -> EngineError | None:
    """What a running container has printed since then (unix seconds) of a device whose memory did not suffice."""
    for container in await engine.running(labels):
        output = await engine.logs(container, since=since, limit=_READ)
        if found := _COMPLAINTS.search(output):
            begin = output.rfind(b"\n", 0, found.start()) + 1
            line = output[begin:].partition(b"\n")[0].partition(b" ")[2].decode(errors="replace")
            text = "".join(c if c.isprintable() else " " for c in line)[:_SHOWN]
            return EngineError(f"out of device memory: {text}", code=OUT_OF_MEMORY, retry=Retry.LATER)
    return None
