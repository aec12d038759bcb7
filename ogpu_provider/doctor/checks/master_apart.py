"""Are master and provider two accounts?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import provider


async def look(context: Context) -> Seen:
    ours = await provider(context)
    return failed(f"both are {ours}") if (await context.chain.pairing(ours)).master == ours else ok("two accounts")


CHECK = Check(
    id="master_apart",
    topic=Topic.ACCOUNT,
    severity=Severity.ERROR,
    title="master apart from provider",
    meaning="The master owns the stake and the earnings; with one key for both, they lie on this host.",
    remedy="make a new key for the provider, have the master announce it, and remove the old pairing",
    look=look,
    needs=("paired",),
)
