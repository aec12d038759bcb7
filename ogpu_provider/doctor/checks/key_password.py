"""Does the daemon know where the keystore's password is?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import open_bits

UNSAID = "the settings do not say where it is"


async def look(context: Context) -> Seen:
    wallet = context.settings.wallet
    if wallet.password_file is not None:
        facts = await context.files.stat(wallet.password_file)
        if facts is None:
            return failed(f"{wallet.password_file} is not there", mendable=False)
        others = list(open_bits(facts.mode))
        return (
            failed(f"{wallet.password_file} is open to {' and '.join(others)}") if others else ok("in a private file")
        )
    if wallet.password_credential is not None:
        return ok(f"the systemd credential {wallet.password_credential}")
    return ok("an open descriptor") if wallet.password_fd is not None else failed(UNSAID, mendable=False)


async def fix(context: Context) -> None:
    if context.settings.wallet.password_file is not None:
        await context.files.chmod(context.settings.wallet.password_file, 0o600)


CHECK = Check(
    id="key_password",
    topic=Topic.ACCOUNT,
    severity=Severity.ERROR,
    title="keystore's password",
    meaning="The daemon opens the keystore by itself when it starts, so it must find the password, and nobody else.",
    remedy="set wallet.password_credential (systemd) or wallet.password_file, a file with mode 0600",
    look=look,
    fix=fix,
)
