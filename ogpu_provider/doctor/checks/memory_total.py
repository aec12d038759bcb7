"""Is there enough main memory for a source beside the system?"""

import re
from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import size
from ogpu_provider.doctor.ports import Context

LEAST, ENOUGH = 2 << 30, 8 << 30


async def look(context: Context) -> Seen:
    text = await context.files.text(Path("/proc/meminfo")) or ""
    match = re.search(r"^MemTotal:\s+(\d+) kB", text, re.MULTILINE)
    if match is None:
        return unknown("/proc/meminfo does not say how much memory there is")
    total = int(match[1]) << 10
    if total < LEAST * 0.9:
        return failed(f"{size(total)} of memory", Severity.ERROR)
    return ok(f"{size(total)} of memory") if total >= ENOUGH * 0.9 else failed(f"{size(total)} of memory")


CHECK = Check(
    id="memory_total",
    topic=Topic.MACHINE,
    severity=Severity.WARNING,
    title="main memory",
    meaning="Models are loaded through main memory; with less than 8 GiB most sources are killed while they start.",
    remedy="add memory, or serve small sources only",
    look=look,
)
