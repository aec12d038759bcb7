"""Is there space for the journal and the results?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import size
from ogpu_provider.doctor.ports import Context

LEAST, ENOUGH = 256 << 20, 2 << 30


async def look(context: Context) -> Seen:
    folder = context.settings.data_dir
    room = await context.files.room(folder)
    text = f"{size(room.free)} free for {folder}"
    if room.free >= ENOUGH:
        return ok(text)
    return failed(text, Severity.ERROR if room.free < LEAST else None)


CHECK = Check(
    id="disk_data_dir",
    topic=Topic.MACHINE,
    severity=Severity.WARNING,
    title="space for the journal",
    meaning="What cannot be written down is not sent: on a full disk the daemon stops attempting and responding.",
    remedy="free space there, or set data_dir to a larger disk",
    look=look,
)
