"""Fair shares: memory, processors, processes, shared memory, and the `deploy` section that repeats them."""

from ogpu_provider.runtime.compose import devices, quantities
from ogpu_provider.runtime.compose.draft import Draft, Reader
from ogpu_provider.runtime.compose.model import Gpu
from ogpu_provider.runtime.compose.reader import Field

_LEAST_MEMORY = 6 << 20
_LEAST_CPUS = 0.01
"""Below these an engine refuses to create the container."""


def shm(draft: Draft, at: Field) -> None:
    """More than the limit is refused, not cut: programs that ask for it fail without it."""
    value = at.parsed(quantities.size)
    if value is None:
        return
    limit = draft.limits.shm
    if value <= 0:
        _too_low(at, value, 1, limit)
    elif value > limit and at.waived("compose.shm_size", f"{value:g}; at most {limit:g}"):
        limit = draft.limits.memory
    draft.values["shm"] = min(value, limit)


def memory(draft: Draft, at: Field) -> None:
    value = at.parsed(quantities.size)
    if value is not None:
        draft.values["memory"] = int(_lower(draft, at, "memory", value, draft.limits.memory, _LEAST_MEMORY))


def cpus(draft: Draft, at: Field) -> None:
    value = at.decimal()
    if value is not None:
        draft.values["cpus"] = _lower(draft, at, "cpus", value, draft.limits.cpus, _LEAST_CPUS)


def pids(draft: Draft, at: Field) -> None:
    value = at.number()
    if value is not None:
        draft.values["pids"] = int(_lower(draft, at, "pids", value, draft.limits.pids, 1))


def one(_draft: Draft, at: Field) -> None:
    if at.number() not in (None, 1):
        at.refuse("compose.replicas", "one container for each service")


def gpus(draft: Draft, at: Field) -> None:
    _need(draft, at, devices.gpus(at, draft.limits))


def runtime(draft: Draft, at: Field) -> None:
    _need(draft, at, devices.runtime(at))


def amd(draft: Draft, at: Field) -> None:
    _need(draft, at, devices.amd(at, draft.limits))


def deploy(draft: Draft, at: Field) -> None:
    for key, value in at.entries():
        match key:
            case "resources":
                _resources(draft, value)
            case "replicas":
                one(draft, value)
            case "restart_policy":
                for part, figure in value.entries():
                    if part not in ("condition", "delay", "max_attempts", "window"):
                        figure.refuse("compose.unknown_key", "not part of a restart policy")
                    figure.text()
                value.note("restarts follow restart:, not deploy")
            case _:
                value.refuse("compose.deploy", f"deploy.{key[:40]} is for clusters")


def _resources(draft: Draft, at: Field) -> None:
    for part, figures in at.entries():
        if part not in ("limits", "reservations"):
            figures.refuse("compose.unknown_key", "not part of resources")
            continue
        for key, value in figures.entries():
            if key == "devices" and part == "reservations":
                _need(draft, value, devices.reservations(value, draft.limits))
            elif key not in _LIMITS:
                value.refuse("compose.unknown_key", f"not part of {part}")
            elif part == "limits":
                _LIMITS[key](draft, value)
            elif value.text() is not None:
                value.note("memory and processors are limited, not reserved")


def _need(draft: Draft, at: Field, need: devices.Need) -> None:
    if {draft.gpu[0], need[0]} == {Gpu.NVIDIA, Gpu.AMD}:
        at.refuse("compose.gpu", "asks for NVIDIA and AMD devices at once")
    draft.gpu = devices.merge(draft.gpu, need)


def _lower(draft: Draft, at: Field, name: str, value: float, limit: float, least: float) -> float:
    """The lowest of this figure, ours, and one that the author gave elsewhere."""
    if value < least:
        _too_low(at, value, least, limit)
    elif value > limit:
        at.note(f"{limit:g}, which is the most that is given")
    before: float | None = draft.values.get(name)
    return min(value, limit) if before is None else min(value, limit, before)


def _too_low(at: Field, value: float, least: float, limit: float) -> None:
    at.refuse("compose.figure", f"{value:.12g}; at least {least:.12g} and at most {limit:.12g}")


_LIMITS: dict[str, Reader] = {"memory": memory, "cpus": cpus, "pids": pids}
