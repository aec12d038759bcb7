"""Is a private key in the environment?"""

from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.environment import INCUMBENT_KEY


async def look(context: Context) -> Seen:
    text = await context.files.text(Path("/proc/self/environ"))
    if text is None:
        return unknown("/proc/self/environ cannot be read")
    names = {entry.partition("=")[0] for entry in text.split("\0")}
    return failed(f"{INCUMBENT_KEY} is set") if INCUMBENT_KEY in names else ok("no key in the environment")


CHECK = Check(
    id="key_environment",
    topic=Topic.ACCOUNT,
    severity=Severity.WARNING,
    title="key in the environment",
    meaning="Every child process inherits the environment, and a compose file can copy it into a container.",
    remedy=f"`ogpu-provider keys import`, then remove {INCUMBENT_KEY} from the service, .env file or shell profile",
    look=look,
)
