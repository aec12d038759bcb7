"""The steps in order. Each asks the configuration, the keystore or the chain what is done already."""

from collections.abc import Awaitable, Callable

from ogpu_provider.domain.killpoints import reach
from ogpu_provider.onboarding import host, key, network, pairing, sources, stake, summary
from ogpu_provider.onboarding.sitting import Sitting, StepResult

Step = Callable[[Sitting], Awaitable[StepResult]]

STEPS: tuple[tuple[str, Step], ...] = (
    ("Network", network.choose),
    ("Key", key.provide),
    ("Host check", host.check),
    ("Pairing", pairing.pair),
    ("Stake", stake.provide),
    ("Sources", sources.choose),
    ("Summary", summary.tell),
)


async def register(ctx: Sitting) -> list[StepResult]:
    """All steps; what was done before an error stays done. Raises ProviderError."""
    for number, (title, step) in enumerate(STEPS, 1):
        ctx.talk.say(f"\n[{number}/{len(STEPS)}] {title}")
        result = await step(ctx)
        ctx.results.append(result)
        reach(f"{result.step}.done")
    return ctx.results
