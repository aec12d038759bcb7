"""Does every container get the GPU runtime?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    runtime = (await context.engine.facts()).default_runtime
    return failed("the default runtime is nvidia") if runtime == "nvidia" else ok(f"the default runtime is {runtime}")


CHECK = Check(
    id="nvidia_default_runtime",
    topic=Topic.GPU,
    severity=Severity.WARNING,
    title="default runtime",
    meaning="With nvidia as default, any image can take every GPU by a variable of its own, leased to it or not.",
    remedy='remove "default-runtime": "nvidia" from /etc/docker/daemon.json, then restart the engine',
    look=look,
    needs=("engine_reachable",),
)
