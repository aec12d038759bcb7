"""Who may speak to the engine?"""

from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    host = context.settings.runtime.docker_host or "unix:///var/run/docker.sock"
    if not host.startswith("unix://"):
        return failed(f"the engine is spoken to at {host.partition('://')[0]}://")
    path = Path(host.removeprefix("unix://"))
    facts = await context.files.stat(path)
    if facts is None:
        return unknown(f"{path} is not there")
    if facts.mode & 0o002:
        return failed(f"{path} has mode {facts.mode:04o}: everybody on this host is root", Severity.ERROR)
    return ok(f"{path} has mode {facts.mode:04o}")


CHECK = Check(
    id="engine_socket",
    topic=Topic.ENGINE,
    severity=Severity.WARNING,
    title="engine's socket",
    meaning="Whoever reaches the engine is root on its host. Over a network that may be anybody.",
    remedy="use the local socket with mode 0660, owned by root and the docker group",
    look=look,
    needs=("engine_reachable",),
)
