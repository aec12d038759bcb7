"""Is there space for images?"""

from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import size
from ogpu_provider.doctor.ports import Context

LEAST, ENOUGH = 5 << 30, 40 << 30
LEAST_SHARE, ENOUGH_SHARE = 0.02, 0.10


async def look(context: Context) -> Seen:
    root = (await context.engine.facts()).root_dir
    if not root or await context.files.stat(Path(root)) is None:
        return unknown(f"the engine's data root {root or '(not named)'} is not visible from here")
    room = await context.files.room(Path(root))
    share = room.free / max(1, room.total)
    text = f"{size(room.free)} ({share:.0%}) free for {root}"
    if room.inodes_free is not None and room.inodes_free < 0.05:
        return failed(f"{text}, but only {room.inodes_free:.0%} of its inodes", Severity.ERROR)
    if room.free < LEAST or share < LEAST_SHARE:
        return failed(text, Severity.ERROR)
    return ok(text) if room.free >= ENOUGH and share >= ENOUGH_SHARE else failed(text)


CHECK = Check(
    id="disk_images",
    topic=Topic.ENGINE,
    severity=Severity.WARNING,
    title="space for images",
    meaning="Images of GPU sources are 5 to 30 GB each; when the disk is full, nothing on this host works any more.",
    remedy="`docker image prune`, a larger disk, or data-root in /etc/docker/daemon.json on another disk",
    look=look,
    needs=("engine_reachable",),
)
