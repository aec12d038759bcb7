"""A level of isolation is met by the engine, or nothing is run."""

import pytest

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.allowlist import strays
from ogpu_provider.runtime.compose.check import EXAMPLE
from ogpu_provider.runtime.compose.gate import admit
from ogpu_provider.runtime.compose.render import Grant, Plan, render
from ogpu_provider.runtime.container import Container
from ogpu_provider.runtime.isolation import Isolation, IsolationSettings, demand, lacking
from ogpu_provider.runtime.verify import deviations

SOURCE, OTHER = Address("0x" + "5A" * 20), Address("0x" + "5B" * 20)


RUNTIMES, SECURITY = ("runc",), ("name=seccomp,profile=default",)


def test_every_engine_is_good_enough_for_the_default() -> None:
    assert IsolationSettings().of(SOURCE) is Isolation.HARDENED
    demand(Isolation.HARDENED, RUNTIMES, SECURITY)
    assert Isolation.HARDENED.runtime == ""


@pytest.mark.parametrize("level", [Isolation.GVISOR, Isolation.USER_NAMESPACE])
def test_a_level_that_the_engine_cannot_meet_runs_nothing_and_says_what_to_do(level: Isolation) -> None:
    with pytest.raises(EngineError) as caught:
        demand(level, RUNTIMES, SECURITY)
    assert (caught.value.code, caught.value.retry) == ("engine.isolation", Retry.LATER)
    assert "daemon.json" in caught.value.remedy


@pytest.mark.parametrize("option", ["name=userns", "name=rootless", "name=userns,remap=default"])
def test_a_remapping_and_a_rootless_engine_keep_root_apart(option: str) -> None:
    assert lacking(Isolation.USER_NAMESPACE, RUNTIMES, (*SECURITY, option)) == ""


def test_gvisor_is_the_runtime_of_its_name() -> None:
    assert lacking(Isolation.GVISOR, ("runc", "runsc"), SECURITY) == ""
    assert Isolation.GVISOR.runtime == "runsc"
    assert "runsc" in lacking(Isolation.GVISOR, ("runc", "runsc-kvm"), SECURITY)


def test_a_source_of_its_own_level() -> None:
    settings = IsolationSettings(Isolation.HARDENED, {OTHER: Isolation.GVISOR})
    assert (settings.of(SOURCE), settings.of(OTHER)) == (Isolation.HARDENED, Isolation.GVISOR)


def plan(level: Isolation) -> Plan:
    grant = Grant(
        instance="test",
        source=SOURCE,
        environment=Environment.CPU,
        compose_sha256="0" * 64,
        variables=EXAMPLE,
        images={"x/y:latest": "x/y@sha256:" + "0" * 64},
        dispatch_host="127.0.0.1",
        gateway="172.17.0.1",
        isolation=level,
    )
    return render(admit(b'services: {web: {image: x/y, ports: ["5555"]}}', Environment.CPU, EXAMPLE), grant)


@pytest.mark.parametrize("level", Isolation)
def test_the_rendered_file_names_the_runtime_and_nothing_more(level: Isolation) -> None:
    made = plan(level)
    assert made.services["web"].get("runtime", "") == level.runtime
    assert made.services["web"]["labels"]["ogpu.isolation"] == level.value
    assert strays(made.document) == ()


@pytest.mark.parametrize(("runtime", "differs"), [("runsc", False), ("runc", True), ("", True), (None, True)])
def test_a_container_under_another_runtime_is_found(runtime: str | None, differs: bool) -> None:
    raw = {"HostConfig": {"Runtime": runtime}}
    found = deviations(plan(Isolation.GVISOR), [Container("id", "web", {}, "created", 0, False, raw)], {})
    assert any("runtime" in text for text in found) is differs
