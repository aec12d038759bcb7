"""`ogpu-provider status`: the state of the daemon in a few lines."""

from pathlib import Path

from ogpu_provider.cli import journal
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import document, facts
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.task import TaskState


async def status(*, json: AsJson = False, config: ConfigFile = None) -> int:
    """Say whether the daemon runs and what its journal holds. Exit code 1 if it does not run."""
    async with journal.opened(config) as reader:
        pid = holder(reader.path.with_name(reader.path.name + ".lock"))
        meta, cursor, counts = await reader.meta(), await reader.cursor(), await reader.counts()
        sources, intents = await reader.sources(), await reader.open_intents()
    by_state: dict[str, int] = {}
    for source in sources:
        by_state[source.state] = by_state.get(source.state, 0) + 1
    live = sum(count for state, count in counts.items() if not state.over)
    if json:
        document(
            {
                "running": pid is not None,
                "pid": pid,
                "journal": str(reader.path),
                "chain_id": int(meta["chain_id"]) if "chain_id" in meta else None,
                "provider": meta.get("provider"),
                "ended": meta.get("ended") or None,
                "block": cursor[0] if cursor else None,
                "tasks": {state.value: counts.get(state, 0) for state in TaskState},
                "tasks_live": live,
                "sources": by_state,
                "open_transactions": [journal.intent_document(row) for row in intents],
            }
        )
        return 0 if pid is not None else 1
    facts(
        (
            ("daemon", f"runs, process {pid}" if pid is not None else "does not run"),
            *((("ended by itself", ended),) if (ended := meta.get("ended")) and pid is None else ()),
            ("provider", meta.get("provider")),
            ("chain", meta.get("chain_id")),
            ("read up to", f"block {cursor[0]}" if cursor else "no block yet"),
            ("tasks", _counted({str(s): counts[s] for s in TaskState if s in counts}) or "none"),
            ("live tasks", live),
            ("sources", _counted(by_state) or "none"),
            ("transactions", _counted({e: sum(r.intent.effect is e for r in intents) for e in Effect}) or "none open"),
            ("journal", reader.path),
        )
    )
    return 0 if pid is not None else 1


def _counted(counts: dict[str, int] | dict[Effect, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def holder(lock: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """The process that holds a flock on `lock`. Read from the kernel's list: trying the lock could hinder a start."""
    try:
        inode = lock.stat().st_ino
        lines = locks.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None
