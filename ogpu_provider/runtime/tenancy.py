"""Which projects and which processes of this host run in our containers, as the engine and the kernel have it."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from ogpu_provider.domain.project import RunningProject
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.live import ENVIRONMENTS
from ogpu_provider.runtime.trial import LABEL as TRIAL

_CONTAINER = re.compile(r"[0-9a-f]{64}")


async def running_projects(engine: Engine, instance: str) -> tuple[RunningProject, ...]:
    """By the labels of running containers, whether or not the daemon knows of them. Raises EngineError."""
    found: dict[Address, RunningProject] = {}
    for labels in (await engine.running({render.INSTANCE: instance})).values():
        if project := _project(labels):
            found[project.source] = project
    return tuple(found[source] for source in sorted(found))


async def own_processes(
    engine: Engine, instance: str, pids: Collection[int], proc: Path = Path("/proc")
) -> frozenset[int]:
    """Those of `pids` that run in containers of ours, trials too. Raises EngineError.

    The kernel says of a process in which control group it is, and an engine names those after its containers. Where
    that cannot be read (the daemon is in a container itself) the engine is asked what runs in each.
    """
    if not pids:
        return frozenset()
    ours = {*await engine.running({render.INSTANCE: instance}), *await engine.running({TRIAL: "yes"})}
    found = {pid: homes(pid, proc) for pid in pids}
    known = {pid for pid, home in found.items() if home is not None and home & ours}
    unread = {pid for pid, home in found.items() if home is None}
    if unread:
        for container in ours:
            known |= unread & await engine.processes(container)
    return frozenset(known)


def _project(labels: Mapping[str, str]) -> RunningProject | None:
    source, environment = labels.get(render.SOURCE), ENVIRONMENTS.get(labels.get(render.ENVIRONMENT, ""))
    if not source or environment is None:
        return None
    devices = tuple(filter(None, labels.get(render.DEVICES, "").split(",")))
    return RunningProject(Address(source), environment, labels.get(render.SHA256, ""), devices)


def homes(pid: int, proc: Path) -> set[str] | None:
    """The containers that a process is in; None if nothing can be said."""
    try:
        return set(_CONTAINER.findall((proc / str(pid) / "cgroup").read_text()))
    except OSError:
        return None
