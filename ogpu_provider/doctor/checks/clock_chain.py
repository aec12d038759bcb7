"""Does this host's clock agree with the chain's?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context

NOTABLE, WRONG = 15.0, 120.0


async def look(context: Context) -> Seen:
    number, timestamp = await context.chain.head()
    apart = context.clock.now() - timestamp
    text = f"block {number} is {abs(apart):.0f} s {'old' if apart >= 0 else 'in the future'}"
    if -NOTABLE / 3 <= apart <= NOTABLE:
        return ok(text)
    return failed(text, Severity.ERROR if abs(apart) > WRONG else None)


CHECK = Check(
    id="clock_chain",
    topic=Topic.CHAIN,
    severity=Severity.WARNING,
    title="clock against the chain",
    meaning="Deadlines of tasks are in the chain's time: with a wrong clock, results come late or work is refused.",
    remedy="set the clock (`timedatectl set-ntp true`); if it is right, the node is behind: use another",
    look=look,
    needs=("rpc_chain_id",),
)
