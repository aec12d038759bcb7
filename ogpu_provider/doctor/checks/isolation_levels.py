"""Does a real container show the isolation that the settings ask for, and that the engine says it has?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context

_SCRIPT = (
    'while read -r line; do case $line in CapEff*|NoNewPrivs*|Seccomp:*) echo "$line";; esac; '
    "done < /proc/self/status; "
    'read -r map < /proc/self/uid_map; echo "uids $map"; read -r kernel < /proc/version; echo "kernel $kernel"'
)
_GVISOR = "Linux version 4.4.0"
"""What gVisor's kernel calls itself, whatever the host's is."""


async def look(context: Context) -> Seen:
    from ogpu_provider.runtime.isolation import Isolation, lacking

    settings, engine = context.settings, await context.engine.facts()
    wanted = {Isolation(level) for level in (settings.runtime.isolation, *settings.sources.isolation.values())}
    said = []
    for level in Isolation:
        reason = lacking(level, engine.runtimes, engine.security) or await _tried(context, level)
        if reason and level in wanted:
            return failed(f"{level}: {reason}")
        said.append(f"{level}: {reason or 'seen in a container'}")
    return ok("; ".join(said))


async def _tried(context: Context, level: str) -> str:
    """Why a container does not have the level; empty if it has."""
    from ogpu_provider.runtime.isolation import Isolation
    from ogpu_provider.runtime.trial import Trial

    isolation = Isolation(level)
    outcome = await context.engine.trial(Trial(_SCRIPT, runtime=isolation.runtime))
    if outcome.code:
        return f"the container ended with {outcome.code}: {' '.join(outcome.output.split())[:200]}"
    rows = (line.replace(":", " ", 1).split() for line in outcome.output.splitlines() if line)
    return _missing(isolation, {name: " ".join(rest) for name, *rest in rows})


def _missing(isolation: str, rows: dict[str, str]) -> str:
    if int(rows.get("CapEff") or "f", 16):
        return f"capabilities {rows.get('CapEff')}"
    match isolation:
        case "gvisor":
            return "" if rows.get("kernel", "").startswith(_GVISOR) else f"its kernel is {rows.get('kernel', '')[:60]}"
        case "user-namespace" if rows.get("uids", "").startswith("0 0 "):
            return "root in it is root here"
    if rows.get("NoNewPrivs") != "1" or rows.get("Seccomp") != "2":
        return f"NoNewPrivs {rows.get('NoNewPrivs')}, Seccomp {rows.get('Seccomp')}"
    return ""


CHECK = Check(
    id="isolation_levels",
    topic=Topic.ENGINE,
    severity=Severity.ERROR,
    title="isolation, tried",
    meaning="A level of isolation is what a container shows of it, not what a configuration says.",
    remedy="docs/security.md says how each level is switched on; or set another runtime.isolation",
    look=look,
    needs=("engine_reachable",),
    seconds=90.0,
)
