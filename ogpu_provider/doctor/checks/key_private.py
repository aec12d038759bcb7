"""Can others read or replace the keystore?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import open_bits


async def look(context: Context) -> Seen:
    path = context.settings.keystore
    facts, folder = await context.files.stat(path), await context.files.stat(path.parent)
    if facts is None or folder is None:
        return skipped(f"there is no keystore at {path}")
    for what, one in ((path, facts), (path.parent, folder)):
        if one.uid not in (context.machine.uid, 0):
            return failed(
                f"{what} belongs to user {one.uid}", remedy=f"chown {what} to the daemon's user", mendable=False
            )
    if folder.mode & 0o022 and not folder.mode & 0o1000:
        return failed(f"others can write in {path.parent}", remedy=f"chmod go-w {path.parent}", mendable=False)
    others = list(open_bits(facts.mode))
    return failed(f"{path} is open to {' and '.join(others)}") if others else ok(f"{path} is private")


async def fix(context: Context) -> None:
    await context.files.chmod(context.settings.keystore, 0o600)


CHECK = Check(
    id="key_private",
    topic=Topic.ACCOUNT,
    severity=Severity.ERROR,
    title="keystore's mode",
    meaning="Whoever copied the file can guess its password in peace; the daemon refuses a keystore that others reach.",
    remedy="chmod 600 on the keystore; if others may have read it, make a new key and pair it",
    look=look,
    fix=fix,
)
