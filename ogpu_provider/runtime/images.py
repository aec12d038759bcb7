"""From the name in a compose file to content that cannot change: resolve, pull by digest, never by tag."""

import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.engine import Engine

_TELL_SECONDS = 5.0
_NOBODY: Mapping[str, str] = {}
"""No credentials of the operator are used: an image that needs them is none that a stranger may have run."""


async def pin(engine: Engine, image: Image, *, seconds: float, progress: Callable[[str], None] | None = None) -> str:
    """Return `repository@sha256:...`, present on this host.

    A tag means what the registry has now; if the registry does not answer, what was pulled under that name before.
    Raises EngineError (engine.image_missing, engine.pull_failed, engine.pull_timeout, engine.unreachable).
    """
    try:
        digest = image.digest or await _registry_digest(engine, image)
    except EngineError as error:
        if error.code == "engine.unreachable":
            raise
        if (known := await _known(engine, image)) is None:
            raise
        return known
    reference = image.pinned(digest)
    if await engine.image(reference) is None:
        await pull(engine, image, digest, seconds=seconds, progress=progress)
        if await engine.image(reference) is None:
            raise EngineError(f"{reference} is not there after its pull", code="engine.image_missing")
    return reference


async def pull(
    engine: Engine, image: Image, digest: str, *, seconds: float, progress: Callable[[str], None] | None = None
) -> None:
    """Fetch an image by digest within `seconds`; `progress` hears a line now and then.

    Raises EngineError (engine.image_missing, engine.pull_failed, engine.pull_timeout, engine.unreachable).
    """
    name = image.pinned(digest)
    give_up, told = time.monotonic() + seconds, time.monotonic()
    done: dict[str, int] = {}
    total: dict[str, int] = {}
    try:
        async with aclosing(engine.pull(image.repository, digest, _NOBODY)) as rows:
            async for row in rows:
                _note(row, name, done, total)
                now = time.monotonic()
                if now >= give_up:
                    text = f"{name} was not there in {seconds:g} s"
                    raise EngineError(text, code="engine.pull_timeout", retry=Retry.LATER)
                if progress is not None and now - told > _TELL_SECONDS:
                    told = now
                    progress(f"{sum(done.values()) >> 20} of {sum(total.values()) >> 20} MiB")
    except EngineError as error:
        if error.code not in ("engine.not_found", "engine.failed", "engine.conflict"):
            raise
        code = "engine.image_missing" if error.code == "engine.not_found" else "engine.pull_failed"
        raise EngineError(f"{name}: {error}", code=code, retry=Retry.LATER) from error


def _note(row: Mapping[str, Any], name: str, done: dict[str, int], total: dict[str, int]) -> None:
    if message := row.get("error"):
        raise EngineError(f"{name}: {message}", code="engine.pull_failed", retry=Retry.LATER)
    detail = row.get("progressDetail") or {}
    if "id" in row and detail.get("total"):
        done[row["id"]], total[row["id"]] = int(detail.get("current", 0)), int(detail["total"])


async def _registry_digest(engine: Engine, image: Image) -> str:
    """What the registry has under a tag now: `sha256:...` of its manifest."""
    try:
        answer = await engine.distribution(image.tagged, _NOBODY)
    except EngineError as error:
        if error.code == "engine.unreachable":
            raise
        code = "engine.image_missing" if error.code == "engine.not_found" else "engine.pull_failed"
        raise EngineError(f"{image.tagged}: {error}", code=code, retry=Retry.LATER) from error
    return str(answer["Descriptor"]["digest"])


async def _known(engine: Engine, image: Image) -> str | None:
    local = await engine.image(image.tagged)
    if local is None:
        return None
    wanted = f"{_plain(image.repository)}@"
    return next((digest for digest in local.digests if digest.startswith((wanted, f"{image.repository}@"))), None)


def _plain(repository: str) -> str:
    """The engine's short name for images of its default registry."""
    for prefix in ("docker.io/library/", "docker.io/"):
        if repository.startswith(prefix):
            return repository.removeprefix(prefix)
    return repository
