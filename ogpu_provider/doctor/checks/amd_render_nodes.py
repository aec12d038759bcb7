"""Are there render nodes for the AMD GPUs?"""

from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    nodes = [name for name in await context.files.names(Path("/dev/dri")) if name.startswith("renderD")]
    return ok(", ".join(f"/dev/dri/{name}" for name in sorted(nodes))) if nodes else failed("none under /dev/dri")


CHECK = Check(
    id="amd_render_nodes",
    topic=Topic.GPU,
    severity=Severity.WARNING,
    title="AMD render nodes",
    meaning="A container gets an AMD GPU as /dev/kfd and a render node; without the second it has none.",
    remedy="load the display driver (`modprobe amdgpu`); in a container, pass /dev/dri through",
    look=look,
    needs=("amd_driver",),
)
