"""A trial container on a real engine: what it can do, what it cannot, and that nothing is left."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.trial import LABEL, Outcome, Trial, attempt

pytestmark = pytest.mark.docker


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[Engine]:
    made = Engine()
    yield made
    await made.aclose()


async def left(engine: Engine) -> int:
    return len(await engine.containers({LABEL: "yes"}))


async def test_it_runs_a_script_of_ours_and_is_gone(engine: Engine) -> None:
    before = await left(engine)
    assert await attempt(engine, Trial("echo seen; exit 3")) == Outcome(3, "seen\n")
    assert await left(engine) == before


async def test_it_can_neither_write_to_the_host_nor_see_more_of_it(engine: Engine) -> None:
    script = "echo x > /host/usr/ogpu-trial || echo refused; test -e /host/etc || echo no /etc; echo $UID"
    outcome = await attempt(engine, Trial(script))
    assert "Read-only file system" in outcome.output
    said = [line for line in outcome.output.splitlines() if "Read-only" not in line]  # the other stream: any order
    assert said == ["refused", "no /etc", "0"]


async def test_it_is_stopped_in_time(engine: Engine) -> None:
    before = await left(engine)
    with pytest.raises(EngineError) as late:
        await attempt(engine, Trial("while :; do :; done"), seconds=1.0)
    assert late.value.code == "engine.trial_timeout"
    assert await left(engine) == before


async def test_what_the_engine_refuses_is_an_outcome(engine: Engine) -> None:
    before = await left(engine)
    if "nvidia" not in (await engine.info()).runtimes:
        outcome = await attempt(engine, Trial("true", nvidia=("GPU-none",)))
        assert outcome.code == 125
        assert outcome.output
    assert await left(engine) == before


async def test_without_an_engine_it_is_an_engine_error() -> None:
    gone = Engine("unix:///nonexistent.sock")
    with pytest.raises(EngineError) as error:
        await attempt(gone, Trial("true"))
    assert error.value.code == "engine.unreachable"
    await gone.aclose()
