"""Is there coin for gas?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import amount
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import provider

GAS_PER_TASK = 1_000_000
"""An attempt and a response, generously."""
ENOUGH = 50


async def look(context: Context) -> Seen:
    balance = await context.chain.balance(await provider(context))
    price = (await context.chain.fees()).gas_price
    tasks = balance // max(1, GAS_PER_TASK * price)
    text = f"{amount(balance, context.network.currency)}, gas for about {tasks} tasks"
    if balance == 0 or tasks == 0:
        return failed(f"{amount(balance, context.network.currency)}, not gas for one task", Severity.ERROR)
    return ok(text) if tasks >= ENOUGH else failed(text)


CHECK = Check(
    id="gas_balance",
    topic=Topic.ACCOUNT,
    severity=Severity.WARNING,
    title="coin for gas",
    meaning="Attempts and responses cost gas, paid from the provider's own address, not from the Vault.",
    remedy="send some coin to the provider's address (`ogpu-provider keys show`)",
    look=look,
    needs=("key_present", "rpc_contracts"),
)
