"""Can the daemon write its journal?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    folder = context.settings.data_dir
    if await context.files.stat(folder) is None:
        return failed(f"{folder} is not there yet", Severity.INFO)
    return (
        ok(f"{folder} is writable")
        if await context.files.writable(folder)
        else failed(f"{folder} is not writable", mendable=False)
    )


async def fix(context: Context) -> None:
    await context.files.mkdir(context.settings.data_dir)


CHECK = Check(
    id="data_dir_writable",
    topic=Topic.FILES,
    severity=Severity.ERROR,
    title="writing the journal",
    meaning="What cannot be written down is not sent: the daemon does not start.",
    remedy="give the directory to the user that runs the daemon (chown), or set data_dir",
    look=look,
    fix=fix,
)
