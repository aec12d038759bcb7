"""Can others read the data directory?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import open_bits


async def look(context: Context) -> Seen:
    folder = context.settings.data_dir
    facts = await context.files.stat(folder)
    if facts is None:
        return ok(f"{folder} is made at the first start")
    if facts.kind != "directory":
        return failed(f"{folder} is not a directory", Severity.ERROR, "move it away, or set data_dir", mendable=False)
    others = list(open_bits(facts.mode))
    return failed(f"{folder} is open to {' and '.join(others)}") if others else ok(f"{folder} is private")


async def fix(context: Context) -> None:
    await context.files.chmod(context.settings.data_dir, 0o700)


CHECK = Check(
    id="data_dir_private",
    topic=Topic.FILES,
    severity=Severity.WARNING,
    title="data directory",
    meaning="Inputs and results of tasks are in there, and the secret that containers' addresses are made from.",
    remedy="chmod 700 on the directory",
    look=look,
    fix=fix,
)
