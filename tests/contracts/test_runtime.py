"""What the Runtime port promises, asked of the fake, of child processes, and of a real engine."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.devnet.samples import samples_dir
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import ComposeRefused, DispatchError, EngineError, Retry
from ogpu_provider.domain.project import Occupancy, ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.ports import Runtime
from ogpu_provider.runtime.callback.server import CallbackServer
from ogpu_provider.runtime.processes import Processes, Sample
from tests.fakes.runtime import FakeRuntime, Script
from tests.runtime_host import Host, Inbox, host, image, imported, pushed

__all__ = ["host", "image", "imported", "pushed"]
SOURCE, OTHER = Address("0x" + "4A" * 20), Address("0x" + "4B" * 20)
TASK = Address("0x" + "7A" * 20)
HOSTILE = b"refused: \nservices: {a: {image: x, privileged: true}}"
CPU = Environment.CPU


@dataclass(frozen=True, slots=True)
class Bench:
    make: Callable[[], Runtime]
    inbox: Inbox
    compose: bytes
    survives: bool

    @property
    def spec(self) -> ProjectSpec:
        return ProjectSpec(SOURCE, CPU, self.compose)

    async def result(self) -> Any:
        async with asyncio.timeout(60):
            while (SOURCE, TASK) not in self.inbox.bodies:
                self.inbox.arrived.clear()
                await self.inbox.arrived.wait()
        return json.loads(self.inbox.bodies[SOURCE, TASK])


@pytest.fixture
def fake() -> Bench:
    inbox = Inbox()
    script = Script({"multiply": (lambda d: {"result": d["a"] * d["b"]}, ("a", "b"))})  # type: ignore[index]
    running: dict[Address, ProjectSpec] = {}

    def make() -> Runtime:
        return FakeRuntime({SOURCE: script}, deliver=inbox.accept, running=running)

    return Bench(make, inbox, b"services: {}", True)


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Bench]:
    inbox = Inbox()
    sample = samples_dir() / "multiply"
    template = (sample / "docker-compose-cpu.yml").read_bytes()
    made: list[Processes] = []
    async with CallbackServer("127.0.0.1", 0, b"s" * 32, inbox) as callback:

        def make() -> Runtime:
            runtime = Processes(
                [Sample(template, sample / "main.py")],
                tmp_path,
                callback_url=callback.url,
                provider=OTHER,
                clock=SystemClock(),
            )
            made.append(runtime)
            return runtime

        yield Bench(make, inbox, template.replace(b"@IMAGE@", b"127.0.0.1:5000/multiply:1"), False)
        for runtime in made:
            await runtime.aclose()


@pytest.fixture
async def engine(host: Host, image: str) -> Bench:
    compose = f'services: {{app: {{image: "{image}", ports: ["${{PORT}}:5555"]}}}}'.encode()
    return Bench(host.projects, host.inbox, compose, True)


@pytest.fixture(params=["fake", "processes", pytest.param("engine", marks=pytest.mark.docker)])
def bench(request: pytest.FixtureRequest) -> Bench:
    made: Bench = request.getfixturevalue(request.param)
    return made


async def test_before_up_there_is_nothing(bench: Bench) -> None:
    runtime = bench.make()
    assert await runtime.contract(SOURCE) is None
    assert await runtime.recover() == []
    with pytest.raises(EngineError) as health:
        await runtime.health(SOURCE)
    assert (health.value.code, health.value.retry) == ("engine.not_up", Retry.LATER)
    with pytest.raises(DispatchError) as dispatch:
        await runtime.dispatch(SOURCE, TASK, "multiply", "{}")
    assert (dispatch.value.code, dispatch.value.retry) == ("dispatch.unreachable", Retry.LATER)
    await runtime.down(SOURCE)
    await runtime.keep_logs(SOURCE, TASK, 0.0)


async def test_a_hostile_file_is_refused_before_anything_happens(bench: Bench) -> None:
    runtime = bench.make()
    with pytest.raises(ComposeRefused):
        await runtime.device_need(HOSTILE, CPU)
    with pytest.raises(ComposeRefused):
        await runtime.up(ProjectSpec(SOURCE, CPU, HOSTILE))
    assert await runtime.contract(SOURCE) is None


async def test_what_runs_is_told_anew_each_time(bench: Bench) -> None:
    runtime = bench.make()
    assert await runtime.occupancy() == Occupancy()
    await runtime.up(bench.spec)
    (project,) = (await runtime.occupancy()).running
    assert (project.source, project.environment, project.devices) == (SOURCE, CPU, ())
    assert await runtime.own({1, os.getpid()}) == frozenset()
    await runtime.down(SOURCE)
    assert await runtime.occupancy() == Occupancy()


async def test_up_contract_dispatch_result_down(bench: Bench) -> None:
    runtime = bench.make()
    assert await runtime.device_need(bench.compose, CPU) == 0
    await runtime.up(bench.spec)
    await runtime.up(bench.spec)
    await runtime.health(SOURCE)
    contract = await runtime.contract(SOURCE)
    assert contract is not None
    assert "multiply" in contract.functions
    assert contract.violations("multiply", '{"a": 6, "b": 7}') == ()
    for function, data in (("multiply", '{"a": 6}'), ("multiply", "{"), ("nothing", "{}")):
        assert contract.violations(function, data)
    await runtime.dispatch(SOURCE, TASK, "multiply", '{"a": 6, "b": 7}')
    assert await bench.result() == {"result": 42}
    await runtime.keep_logs(SOURCE, TASK, 0.0)
    await runtime.down(SOURCE)
    assert await runtime.contract(SOURCE) is None
    with pytest.raises(EngineError):
        await runtime.health(SOURCE)


@pytest.mark.parametrize(("function", "data"), [("nothing", "{}"), ("../docs", "{}"), ("multiply", '{"a": 1}')])
async def test_what_the_container_can_never_do_is_rejected_for_good(bench: Bench, function: str, data: str) -> None:
    runtime = bench.make()
    await runtime.up(bench.spec)
    with pytest.raises(DispatchError) as caught:
        await runtime.dispatch(SOURCE, TASK, function, data)
    assert (caught.value.code, caught.value.retry) == ("dispatch.rejected", Retry.NEVER)


async def test_the_next_life_finds_what_runs(bench: Bench) -> None:
    await bench.make().up(bench.spec)
    reborn = bench.make()
    found = await reborn.recover()
    if not bench.survives:
        assert found == []
        return
    assert [(project.source, project.environment, project.devices) for project in found] == [(SOURCE, CPU, ())]
    await reborn.up(bench.spec)
    await reborn.health(SOURCE)
    await reborn.dispatch(SOURCE, TASK, "multiply", '{"a": 2, "b": 5}')
    assert await bench.result() == {"result": 10}
    await reborn.down(SOURCE)
    assert await bench.make().recover() == []
