"""What one vendor's interface says about the host's GPUs right now."""

from dataclasses import dataclass

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.verdict import Reason


@dataclass(frozen=True, slots=True)
class Reading:
    """Devices that can be used, and why others that are there cannot. No library or driver is an empty reading."""

    devices: tuple[Device, ...] = ()
    problems: tuple[Reason, ...] = ()
