"""Is there a keystore?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.domain.errors import KeyRefused


async def look(context: Context) -> Seen:
    try:
        address = await context.books.address()
    except KeyRefused as error:
        if error.code in ("key.permissions", "key.owner"):
            return unknown(str(error))  # key_private says what is wrong
        return failed(str(error), remedy=error.remedy)
    return ok(f"key of {address}") if address else unknown("the keystore does not name its address")


CHECK = Check(
    id="key_present",
    topic=Topic.ACCOUNT,
    severity=Severity.ERROR,
    title="provider's key",
    meaning="Attempts and responses are signed with the provider's key, kept encrypted in a V3 keystore.",
    remedy="`ogpu-provider keys create`, or `ogpu-provider keys import` for a key that you have",
    look=look,
)
