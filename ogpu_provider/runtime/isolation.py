"""How far a source's containers are kept from this host, beyond what every container gets. Pure.

A level is a demand on the engine, asked before a project is made: an engine that cannot meet it runs nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.units import Address

GVISOR_RUNTIME: Final = "runsc"
_REMAPPED: Final = ("name=userns", "name=rootless")
_REMEDY: Final = {
    "user-namespace": 'set "userns-remap": "default" in the engine\'s daemon.json',
    "gvisor": 'install gVisor and register it in the engine\'s daemon.json: "runtimes": {"runsc": {"path": '
    '"/usr/bin/runsc"}}',
}


class Isolation(StrEnum):
    """`hardened`: the engine's own runtime, with every hardening of the gate. The others add to that:

    `user-namespace`: root in a container is nobody on this host. `gvisor`: system calls end in gVisor's kernel.
    """

    HARDENED = "hardened"
    USER_NAMESPACE = "user-namespace"
    GVISOR = "gvisor"

    @property
    def runtime(self) -> str:
        """The engine's runtime to name in the rendered file; empty for the engine's own choice."""
        return GVISOR_RUNTIME if self is Isolation.GVISOR else ""


@dataclass(frozen=True, slots=True)
class IsolationSettings:
    level: Isolation = Isolation.HARDENED
    overrides: Mapping[Address, Isolation] = field(default_factory=dict)

    def of(self, source: Address) -> Isolation:
        return self.overrides.get(source, self.level)


def lacking(level: Isolation, runtimes: Collection[str], security: Collection[str]) -> str:
    """What an engine with these runtimes and security options does not have for a level; empty if it has all."""
    if level is Isolation.GVISOR and GVISOR_RUNTIME not in runtimes:
        return f"the engine has no runtime {GVISOR_RUNTIME}"
    if level is Isolation.USER_NAMESPACE and not any(each.startswith(_REMAPPED) for each in security):
        return "root in the engine's containers is root on this host"
    return ""


def demand(level: Isolation, runtimes: Collection[str], security: Collection[str]) -> None:
    """Raises EngineError `engine.isolation` where an engine cannot keep containers as far away as `level` says."""
    if reason := lacking(level, runtimes, security):
        text = f"isolation {level} is not to be had: {reason}"
        raise EngineError(text, code="engine.isolation", retry=Retry.LATER, remedy=_REMEDY[level])
