"""Can the engine hold containers to their limits?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    facts = await context.engine.facts()
    kinds = {"memory": facts.memory_limit, "pids": facts.pids_limit, "cpu": facts.cpu_limit}
    missing = [name for name, there in kinds.items() if not there]
    return failed(f"no limits for {', '.join(missing)}") if missing else ok("memory, pids and cpu can be limited")


CHECK = Check(
    id="engine_limits",
    topic=Topic.ENGINE,
    severity=Severity.ERROR,
    title="limits of containers",
    meaning="One source could take all memory, processors or process numbers of this host.",
    remedy="enable the control groups: cgroup_enable=memory swapaccount=1 on the kernel's command line, then restart",
    look=look,
    needs=("engine_reachable",),
)
