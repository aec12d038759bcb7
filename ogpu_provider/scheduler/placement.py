"""Where: the environment for a source, and the devices for its project. Pure and deterministic."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.source import Environment

PREFERENCE = (Environment.NVIDIA, Environment.AMD, Environment.CPU)
"""Most wanted first: what a source offers for a GPU is slower on a CPU, and most images are made for NVIDIA."""


def choose_environment(offered: Collection[Environment], host: Host) -> Environment | None:
    """The most wanted environment that is both offered and present, None if there is none."""
    return next((env for env in PREFERENCE if env in offered and env in host.environments), None)


def choose_devices(
    host: Host,
    environment: Environment,
    count: int,
    *,
    taken: Collection[str],
    keep: Sequence[str] = (),
    shared: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Device, ...] | None:
    """`count` devices of the environment that are not taken, or None: all or nothing.

    Those in `keep` (held already) come first and in that order, so that a project stays where it is warm and its file
    does not change; then those that nobody else is on; then the ones with most free memory, by reading and by what
    others were granted of them (`shared`: bytes by device); equals stay in the order of the host. One that is withheld
    is only kept, never given anew. Raises ValueError for a negative count.
    """
    if count < 0:
        raise ValueError(f"cannot choose {count} devices")
    fit = [
        device
        for device in host.devices
        if device.environment is environment and device.id not in taken and (not device.withheld or device.id in keep)
    ]
    rank = {device_id: place for place, device_id in enumerate(keep)}

    def order(device: Device) -> tuple[int, bool, int]:
        used = max(device.memory_used, shared.get(device.id, 0))
        return rank.get(device.id, len(rank)), device.id in shared, used - device.memory_total

    fit.sort(key=order)
    return tuple(fit[:count]) if len(fit) >= count else None
