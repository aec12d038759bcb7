"""Are the chosen sources active, for an environment that this host has?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import sources
from ogpu_provider.domain.source import Environment, SourceStatus
from ogpu_provider.domain.units import short


async def look(context: Context) -> Seen:
    listed = await sources(context)
    if not listed:
        return skipped("no source is to be served")
    ours = {Environment.CPU}
    ours |= {Environment.NVIDIA} if (await context.gpus.nvidia()).devices else set()
    ours |= {Environment.AMD} if (await context.gpus.amd()).devices else set()
    wrong = []
    for source in listed:
        params = await context.chain.source(source)
        if params.status is not SourceStatus.ACTIVE:
            wrong.append(f"{short(source)} is inactive")
        elif not params.environments & ours:
            wanted = ", ".join(sorted(environment.label for environment in params.environments))
            wrong.append(f"{short(source)} is for {wanted} only")
    good = len(listed) - len(wrong)
    if context.settings.sources.serve == "all" and good:
        return ok(f"{good} of {len(listed)} can be served here")
    return failed("; ".join(wrong)) if wrong else ok(f"all {len(listed)} can be served here")


CHECK = Check(
    id="sources_servable",
    topic=Topic.ACCOUNT,
    severity=Severity.WARNING,
    title="fit of the sources",
    meaning="No task will come from a source that is inactive or that has nothing for this host's devices.",
    remedy="remove it from sources.serve, or see the checks of the GPU that it needs",
    look=look,
    needs=("rpc_contracts",),
)
