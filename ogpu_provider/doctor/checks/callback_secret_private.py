"""Can others read the callback's secret?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import open_bits


async def look(context: Context) -> Seen:
    facts = await context.files.stat(context.settings.data_dir / "callback.secret")
    if facts is None:
        return ok("it is made at the first start")
    others = list(open_bits(facts.mode))
    return failed(f"callback.secret is open to {' and '.join(others)}") if others else ok("callback.secret is private")


async def fix(context: Context) -> None:
    await context.files.chmod(context.settings.data_dir / "callback.secret", 0o600)


CHECK = Check(
    id="callback_secret_private",
    topic=Topic.FILES,
    severity=Severity.ERROR,
    title="callback's secret",
    meaning="Whoever reads it can post results in the name of any source, and they would be submitted as ours.",
    remedy="chmod 600; if it was open for long, stop the daemon and delete the file: projects are then started anew",
    look=look,
    fix=fix,
)
