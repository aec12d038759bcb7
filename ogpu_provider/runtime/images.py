"""From the name in a compose file to content that cannot change: resolve, pull by digest, never by tag."""

from collections.abc import Callable

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.engine import Engine


async def pin(engine: Engine, image: Image, *, seconds: float, progress: Callable[[str], None] | None = None) -> str:
    """Return `repository@sha256:...`, present on this host.

    A tag means what the registry has now; if the registry does not answer, what was pulled under that name before.
    Raises EngineError (engine.image_missing, engine.pull_failed, engine.pull_timeout, engine.unreachable).
    """
    try:
        digest = image.digest or await engine.registry_digest(image.tagged)
    except EngineError as error:
        if error.code == "engine.unreachable":
            raise
        if (known := await _known(engine, image)) is None:
            raise
        return known
    reference = image.pinned(digest)
    if await engine.image(reference) is None:
        await engine.pull(image.repository, digest, seconds=seconds, progress=progress)
        if await engine.image(reference) is None:
            raise EngineError(f"{reference} is not there after its pull", code="engine.image_missing")
    return reference


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
