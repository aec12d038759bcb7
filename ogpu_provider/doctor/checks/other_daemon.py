"""Does another provider run on this host?"""

import itertools
import os.path
from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import holder


async def look(context: Context) -> Seen:
    ours = await holder(context)
    others = []
    for name in await context.files.names(Path("/proc")):
        if not name.isdigit() or int(name) == ours:
            continue
        words = (await context.files.text(Path("/proc") / name / "cmdline") or "").split("\0")
        if _daemon(words):
            others.append(name)
    return failed(f"process {', '.join(others)}") if others else ok("no other one")


def _daemon(words: list[str]) -> bool:
    """`ogpu-provider run` as a program, or as a module of an interpreter."""
    for word, following in itertools.pairwise(words[:5]):
        if os.path.basename(word) == "ogpu-provider" or word == "ogpu_provider.cli.main":
            return following == "run"
    return False


CHECK = Check(
    id="other_daemon",
    topic=Topic.ACCOUNT,
    severity=Severity.WARNING,
    title="another daemon on this host",
    meaning="A second daemon competes for GPUs and memory; with the same key, both break their promises.",
    remedy="stop it, or give it a key, a data_dir and a runtime.instance of its own",
    look=look,
)
