"""How does the engine keep images?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context

GOOD = ("overlay2", "overlayfs", "fuse-overlayfs", "btrfs", "zfs", "stargz")


async def look(context: Context) -> Seen:
    driver = (await context.engine.facts()).storage_driver
    return ok(f"storage driver {driver}") if driver in GOOD else failed(f"storage driver {driver}")


CHECK = Check(
    id="engine_storage",
    topic=Topic.ENGINE,
    severity=Severity.WARNING,
    title="storage driver",
    meaning="Drivers such as vfs copy a whole image for every container: disks fill and starts take minutes.",
    remedy='use overlay2 ("storage-driver" in /etc/docker/daemon.json); in a container, fuse-overlayfs',
    look=look,
    needs=("engine_reachable",),
)
