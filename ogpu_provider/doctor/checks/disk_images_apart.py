"""Can images fill the system's own disk?"""

from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    root = (await context.engine.facts()).root_dir
    there, system = await context.files.stat(Path(root or "/nonexistent")), await context.files.stat(Path("/"))
    if there is None or system is None:
        return unknown(f"the engine's data root {root or '(not named)'} is not visible from here")
    return ok(f"{root} has a file system of its own") if there.disk != system.disk else failed(f"{root} is on /")


CHECK = Check(
    id="disk_images_apart",
    topic=Topic.ENGINE,
    severity=Severity.INFO,
    title="a disk for images",
    meaning="Images and volumes of sources can fill the disk that the system and the journal are on.",
    remedy="give the engine's data-root a file system of its own",
    look=look,
    needs=("engine_reachable",),
)
