"""Sources' model caches: named volumes that outlive their projects. Kept, and measured."""

from dataclasses import dataclass

from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.engine import Engine

_SECONDS = 300.0
"""The engine walks through all files."""


@dataclass(frozen=True, slots=True)
class Cache:
    """`size` in bytes, None where the engine does not know it."""

    source: Address
    volume: str
    size: int | None


async def measure(engine: Engine, instance: str) -> list[Cache]:
    """This instance's, the largest first. Raises EngineError."""
    volumes = await engine.volumes({render.INSTANCE: instance}, seconds=_SECONDS)
    found = [Cache(Address(each.labels.get(render.SOURCE, "")), each.name, each.size) for each in volumes]
    return sorted(found, key=lambda cache: -(cache.size or 0))
