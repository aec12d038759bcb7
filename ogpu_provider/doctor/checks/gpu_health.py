"""Would a card be taken out of use for what its instruments say?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    from ogpu_provider.policies import health_policy
    from ogpu_provider.scheduler.health import Health

    found = [*(await context.gpus.nvidia()).found, *(await context.gpus.amd()).found]
    if not found:
        return skipped("no usable GPU")
    policy = health_policy(context.settings)
    health = Health(policy)
    ailments = [*health.look(found, (), 0.0), *health.look(found, (), policy.hold)]  # as if it lasted
    told = {(each.card, each.reason.code): f"{each.name} {each.card}: {each.reason.text}" for each in ailments}
    return failed("; ".join(told.values())) if told else ok(f"{len(found)} in good order")


CHECK = Check(
    id="gpu_health",
    topic=Topic.GPU,
    severity=Severity.WARNING,
    title="health of cards",
    meaning="The daemon would cordon the card: memory errors, heat, or fewer PCIe lanes than card and slot can have.",
    remedy="cool it, seat it anew, or set the thresholds under health; reset a card with memory errors",
    look=look,
)
