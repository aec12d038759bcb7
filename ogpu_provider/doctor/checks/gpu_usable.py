"""Are there GPUs that had to be left out?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    problems = [*(await context.gpus.nvidia()).problems, *(await context.gpus.amd()).problems]
    return failed("; ".join(problem.text for problem in problems)) if problems else ok("none is left out")


CHECK = Check(
    id="gpu_usable",
    topic=Topic.GPU,
    severity=Severity.WARNING,
    title="GPUs left out",
    meaning="A GPU of this host earns nothing, for the reason given.",
    remedy="reset or re-seat a lost card; make instances on a card with MIG; integrated graphics may be left out",
    look=look,
)
