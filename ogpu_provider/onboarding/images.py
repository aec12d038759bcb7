"""The images of what was chosen, on this host before anything is promised for them."""

import shutil
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final

from ogpu_provider.assembly import open_images
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import EngineError
from ogpu_provider.onboarding.offer import Offer
from ogpu_provider.onboarding.sitting import OnboardingError, Sitting
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.images import Images
from ogpu_provider.settings import Settings

MIB: Final = 1 << 20
UNPACKED: Final = 3
"""An image takes about this many times its download on the disk."""


async def pull(ctx: Sitting, chosen: Sequence[Offer]) -> None:
    """Pull what is not here yet, telling how far it is. Raises OnboardingError source.no_image, source.no_room."""
    settings = ctx.settings
    if not ctx.answers.pull or settings.runtime.engine != "docker":
        ctx.talk.say("Images: left to the daemon.")
        return
    async with aclosing(Engine(settings.runtime.docker_host)) as engine, _opened(settings, engine) as images:
        for one in chosen:
            missing = [image for image in one.images if not await _here(engine, image)]
            if missing and one.image_bytes is not None:
                await _fits(engine, one, one.image_bytes)
            for image in one.images:
                await _bring(ctx, images, one, image)


async def _here(engine: Engine, image: Image) -> bool:
    try:
        return await engine.image(image.pinned(image.digest) if image.digest else image.tagged) is not None
    except EngineError as error:
        raise _refused(f"its images cannot be pulled: {error}", error) from error


def _opened(settings: Settings, engine: Engine) -> AbstractAsyncContextManager[Images]:
    return aclosing(open_images(settings, engine, SystemClock()))


async def _bring(ctx: Sitting, images: Images, one: Offer, image: Image) -> None:
    ctx.talk.say(f"Images: {image} of {one.name} ...")
    try:
        pinned = await images.pin(image, one.address, lambda line: ctx.talk.say(f"        {line}"))
    except EngineError as error:
        raise _refused(f"the image {image} of {one.address} cannot be pulled: {error}", error) from error
    ctx.talk.say(f"        is here, {pinned.rpartition('@')[2]}")


async def _fits(engine: Engine, one: Offer, download: int) -> None:
    """Where the engine's disk is not this host's to see, the pull tells."""
    info, _ = await engine.details()
    try:
        free = shutil.disk_usage(str(info.get("DockerRootDir") or "")).free
    except OSError:
        return
    if (needed := UNPACKED * download) > free:
        raise OnboardingError(
            f"source {one.address} needs about {needed // MIB} MiB of disk for its images, {free // MIB} MiB are free",
            code="source.no_room",
            remedy=f"free space in {info['DockerRootDir']}, or choose another source",
        )


def _refused(text: str, error: EngineError) -> OnboardingError:
    return OnboardingError(
        text,
        code="source.no_image",
        remedy=f"{error.remedy or 'see that the registry can be reached'}, then run this again; nothing was sent "
        "for this source. With --leave-images the daemon pulls",
    )
