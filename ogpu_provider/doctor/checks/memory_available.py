"""Is memory left now?"""

import re
from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import size
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    text = await context.files.text(Path("/proc/meminfo")) or ""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    if match is None:
        return unknown("/proc/meminfo does not say how much memory is available")
    left = int(match[1]) << 10
    return ok(f"{size(left)} available") if left >= 1 << 30 else failed(f"{size(left)} available")


CHECK = Check(
    id="memory_available",
    topic=Topic.MACHINE,
    severity=Severity.WARNING,
    title="available memory",
    meaning="Something else uses nearly all memory of this host; tasks would be killed half way.",
    remedy="stop what else runs here (`ps aux --sort -rss` lists the largest first)",
    look=look,
)
