"""What is wrong with a project, from the engine's word about its containers: one code for each way to fail."""

import contextlib
from collections.abc import Mapping

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.container import Container
from ogpu_provider.runtime.engine import Engine


async def ailment(engine: Engine, labels: Mapping[str, str]) -> EngineError | None:
    """Why the project with these labels cannot do work (engine.gone, .exited, .oom, .unhealthy), None if it can.

    Raises EngineError where the engine does not say.
    """
    containers = await engine.containers(labels)
    for container in containers:
        called = container.labels.get(render.TARGET) == "yes"
        if container.running and container.unhealthy:
            text = f"{container.service} fails its own health check"
            return EngineError(text, code="engine.unhealthy", retry=Retry.LATER)
        if not container.ended or (container.exit_code == 0 and not called and not container.oom_killed):
            continue
        text = f"{container.service} ended with exit code {container.exit_code}"
        if container.oom_killed:
            return EngineError(f"{text}: out of memory", code="engine.oom", retry=Retry.LATER)
        said = await _last_words(engine, container)
        return EngineError(f"{text}{said}", code="engine.exited", retry=Retry.LATER)
    if not any(container.labels.get(render.TARGET) == "yes" for container in containers):
        return EngineError("the container is gone", code="engine.gone", retry=Retry.LATER)
    return None


async def _last_words(engine: Engine, container: Container) -> str:
    with contextlib.suppress(EngineError):
        output = await engine.logs(container.id, since=0, limit=600)
        lines = output.decode(errors="replace").strip().splitlines()[-3:]
        text = " | ".join(line.partition(" ")[2] for line in lines)
        return ": " + "".join(c if c.isprintable() else " " for c in text)[-300:] if text else ""
    return ""
