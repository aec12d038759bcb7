"""A project that runs: what we know of it, whether we started it or found it by its labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.compose.gate import fingerprint
from ogpu_provider.runtime.container import Container
from ogpu_provider.runtime.contract import OpenApiContract
from ogpu_provider.runtime.isolation import Isolation

ENVIRONMENTS = {environment.label: environment for environment in Environment}


@dataclass(frozen=True, slots=True)
class Live:
    """A project that we started or adopted."""

    source: Address
    environment: Environment
    compose_sha256: str
    devices: tuple[str, ...]
    port: int
    contract: OpenApiContract | None = None
    problem: EngineError | None = None
    isolation: str = Isolation.HARDENED

    def serves(self, spec: ProjectSpec, isolation: str) -> bool:
        wanted = tuple(device.id for device in spec.devices)
        same = (self.environment, self.compose_sha256, self.devices, self.isolation)
        return same == (spec.environment, fingerprint(spec.compose), wanted, isolation)


def labels_of(instance: str, source: Address) -> dict[str, str]:
    """What everything of a source's project carries."""
    return {render.INSTANCE: instance, render.SOURCE: source}


def adopted(source: Address, containers: Sequence[Container]) -> Live | None:
    """What the labels of a running project say; None if its called service does not run or a label is missing."""
    target = next((each for each in containers if each.labels.get(render.TARGET) == "yes" and each.running), None)
    if target is None:
        return None
    labels = target.labels
    environment = ENVIRONMENTS.get(labels.get(render.ENVIRONMENT, ""))
    port = labels.get(render.PORT, "")
    if environment is None or not port.isdigit() or not labels.get(render.SHA256):
        return None
    devices = tuple(filter(None, labels.get(render.DEVICES, "").split(",")))
    isolation = labels.get(render.ISOLATION, "")
    return Live(source, environment, labels[render.SHA256], devices, int(port), isolation=isolation)
