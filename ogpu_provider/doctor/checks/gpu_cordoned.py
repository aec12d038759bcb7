"""Are cards out of use for their health?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.domain.errors import StoreError


async def look(context: Context) -> Seen:
    try:
        facts = await context.books.journal()
    except StoreError:
        return skipped("the journal cannot be read")
    if facts is None or not facts.cordons:
        return ok("none is cordoned")
    return failed("; ".join(f"{each.name} {each.card}: {each.text}" for each in facts.cordons))


CHECK = Check(
    id="gpu_cordoned",
    topic=Topic.GPU,
    severity=Severity.WARNING,
    title="cordoned cards",
    meaning="The daemon puts no new work on a card that reported an error, runs too hot or lost PCIe lanes.",
    remedy=(
        "`ogpu-provider devices` says what it waits for; it is tested again by itself. `ogpu-provider devices uncordon "
        "CARD` takes it as it is; thresholds are in the settings under health"
    ),
    look=look,
)
