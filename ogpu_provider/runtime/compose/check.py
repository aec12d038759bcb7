"""A compose file judged without an engine, for `ogpu-provider compose check`."""

from dataclasses import dataclass

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import ZERO_ADDRESS
from ogpu_provider.runtime.compose.gate import DEFAULT_LIMITS, fingerprint, inspect
from ogpu_provider.runtime.compose.interpolation import Variables
from ogpu_provider.runtime.compose.model import Project
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.compose.render import Grant, Plan, render
from ogpu_provider.runtime.compose.violation import Difference, Violation

EXAMPLE = Variables(
    port=40000,
    callback_url="http://172.17.0.1:1023/token",
    source=ZERO_ADDRESS,
    provider=ZERO_ADDRESS,
)
"""Stands for what is only known when a project is started. No file may fix the example's callback port."""


@dataclass(frozen=True, slots=True)
class Checked:
    """`rendered` is what would run, with example values for port, callback and devices; empty if refused."""

    compose_sha256: str
    rendered: bytes
    devices: int
    target: str
    differences: tuple[Difference, ...]
    violations: tuple[Violation, ...]

    @property
    def accepted(self) -> bool:
        return not self.violations


def check(
    text: bytes,
    environment: Environment,
    *,
    variables: Variables = EXAMPLE,
    limits: Limits = DEFAULT_LIMITS,
    waived: frozenset[str] = frozenset(),
) -> Checked:
    """Never raises for a file, however bad it is."""
    project, differences, violations = inspect(text, environment, variables, limits, waived)
    sha256 = fingerprint(text)
    if project is None:
        return Checked(sha256, b"", 0, "", differences, violations)
    plan = _example_plan(project, environment, sha256, variables, limits)
    return Checked(sha256, plan.text, project.devices, project.target, differences, ())


def _example_plan(
    project: Project, environment: Environment, sha256: str, variables: Variables, limits: Limits
) -> Plan:
    devices = tuple(
        Device(f"device-{n}", environment, "example", 0, nodes=("/dev/kfd", f"/dev/dri/renderD{128 + n}"))
        for n in range(project.devices)
    )
    images = {str(service.image): str(service.image) for service in project.services}
    return render(
        project,
        Grant(
            instance="example",
            source=ZERO_ADDRESS,
            environment=environment,
            compose_sha256=sha256,
            variables=variables,
            images=images,
            dispatch_host="127.0.0.1",
            gateway="172.17.0.1",
            devices=devices,
            limits=limits,
        ),
    )
