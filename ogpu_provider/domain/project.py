"""A source's compose project: what is to run, and what was found running."""

from dataclasses import dataclass

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address


@dataclass(frozen=True, slots=True)
class ProjectSpec:
    """What to run for a source: the author's compose file as fetched, and the devices granted to it.

    `waived`: codes of the gate's rules that the operator lifted for this very file.
    """

    source: Address
    environment: Environment
    compose: bytes
    devices: tuple[Device, ...] = ()
    waived: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RunningProject:
    """A project found running with our labels."""

    source: Address
    environment: Environment
    compose_sha256: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Occupant:
    """A container that a process is in: of which source, and of which image (its digest)."""

    source: Address
    image: str
    container: str


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Which projects have running containers now. `changing`: those being started or taken down at this moment."""

    running: tuple[RunningProject, ...] = ()
    changing: frozenset[Address] = frozenset()
