"""Does a real container see the GPUs that it is given?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    from ogpu_provider.runtime.trial import Trial, lent

    wanted = tuple(card.id for card in (await context.gpus.nvidia()).devices)
    outcome = await context.engine.trial(Trial(f"{lent('/usr/bin/nvidia-smi')} -L", nvidia=wanted))
    missing = [uuid for uuid in wanted if uuid not in outcome.output]
    if outcome.code == 0 and not missing:
        return ok(f"{len(wanted)} of {len(wanted)} GPU(s) seen from a container")
    if outcome.code == 0:
        return failed(f"not seen from a container: {', '.join(missing)}")
    return failed(f"a container with the GPU(s) failed ({outcome.code}): {outcome.output.strip()[:300]}")


CHECK = Check(
    id="nvidia_in_container",
    topic=Topic.GPU,
    severity=Severity.ERROR,
    title="GPU in a container",
    meaning="Driver and runtime are there, but a container does not get the GPU: every GPU task would fail.",
    remedy=(
        "`nvidia-ctk runtime configure --runtime=docker` and restart the engine; under a rootless engine also "
        "no-cgroups = true in the toolkit's config"
    ),
    look=look,
    needs=("nvidia_runtime", "nvidia_nodes"),
    seconds=60.0,
)
