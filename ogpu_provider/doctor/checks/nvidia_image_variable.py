"""May an image's own variable choose GPUs?"""

import tomllib
from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context

FILE = Path("/etc/nvidia-container-runtime/config.toml")
KEY = "accept-nvidia-visible-devices-envvar-when-unprivileged"


async def look(context: Context) -> Seen:
    text = await context.files.text(FILE)
    if text is None:
        return skipped(f"{FILE} is not there")
    try:
        accepted = tomllib.loads(text).get(KEY, True)
    except tomllib.TOMLDecodeError as error:
        return unknown(f"{FILE}: {error}")
    return failed(f"{KEY} is on") if accepted else ok(f"{KEY} is off")


CHECK = Check(
    id="nvidia_image_variable",
    topic=Topic.GPU,
    severity=Severity.WARNING,
    title="GPUs by variable",
    meaning="An image with NVIDIA_VISIBLE_DEVICES=all may reach GPUs that it was not given.",
    remedy=f"`{KEY} = false` in {FILE}; GPUs are then given by the engine only, which is how this daemon does it",
    look=look,
    needs=("nvidia_driver",),
)
