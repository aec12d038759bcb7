"""What the demo, tests and benchmarks ask of the container engine besides running a daemon on it."""

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.egress.guard import EgressSettings, Guard
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.removal import remove


async def engine_answers() -> bool:
    """Whether a container engine can be used here at all."""
    engine = Engine()
    try:
        await engine.info()
    except EngineError:
        return False
    finally:
        await engine.aclose()
    return True


async def remove_instance(instance: str) -> int:
    """Remove the containers, networks and egress rules of one daemon's instance, which outlive it; how many
    containers there were.
    """
    engine = Engine()
    try:
        removed = await remove(engine, {render.INSTANCE: instance}, grace=1)
        await Guard(instance, EgressSettings()).adopt({})
        return removed
    finally:
        await engine.aclose()


async def project_sources(instance: str) -> set[Address]:
    """The sources whose containers carry an instance's label."""
    engine = Engine()
    try:
        found = await engine.containers({render.INSTANCE: instance})
    finally:
        await engine.aclose()
    return {Address(container.labels[render.SOURCE]) for container in found}
