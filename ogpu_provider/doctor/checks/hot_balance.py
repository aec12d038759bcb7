"""Is more than gas kept on the hot key?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import amount
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import provider
from ogpu_provider.domain.units import COIN

GAS_PER_TASK = 1_000_000
TASKS = 100_000


async def look(context: Context) -> Seen:
    balance = await context.chain.balance(await provider(context))
    price = (await context.chain.fees()).gas_price
    limit = max(10 * COIN, TASKS * GAS_PER_TASK * price)
    text = amount(balance, context.network.currency)
    return failed(text) if balance > limit else ok(text)


CHECK = Check(
    id="hot_balance",
    topic=Topic.ACCOUNT,
    severity=Severity.WARNING,
    title="coin on the hot key",
    meaning="The provider's key is on a machine that runs strangers' programs: what is on it is what can be lost.",
    remedy="keep gas for a few weeks there, and send the rest to the master or a cold address",
    look=look,
    needs=("key_present", "rpc_contracts"),
)
