"""How often a project may end by itself."""

import pytest

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.budget import OWN, WINDOW_S, RestartBudget
from tests.fakes.clock import FakeClock

SOURCE, OTHER = Address("0x" + "5A" * 20), Address("0x" + "5B" * 20)
EXITED = EngineError("app ended with exit code 3", code="engine.exited")


def spent(clock: FakeClock, ends: int = 3) -> RestartBudget:
    budget = RestartBudget(clock, ends)
    for _ in range(ends):
        budget.demand(SOURCE, "file")
        budget.ended(SOURCE, "file", EXITED)
    return budget


def test_too_many_ends_pause_a_source_with_the_last_reason() -> None:
    budget = spent(FakeClock())
    with pytest.raises(EngineError) as caught:
        budget.demand(SOURCE, "file")
    assert (caught.value.code, caught.value.retry) == ("engine.restarts", Retry.NEVER)
    assert "engine.exited: app ended with exit code 3" in str(caught.value)
    assert "sources retry" in caught.value.remedy
    budget.demand(OTHER, "file")


def test_another_file_or_the_operators_word_is_another_try() -> None:
    budget = spent(FakeClock())
    budget.demand(SOURCE, "changed")
    budget.forgive(SOURCE)
    budget.demand(SOURCE, "file")


async def test_ends_are_forgotten_after_an_hour() -> None:
    clock = FakeClock()
    budget = spent(clock)
    await clock.advance(WINDOW_S + 1)
    budget.demand(SOURCE, "file")


@pytest.mark.parametrize("code", ["engine.unreachable", "engine.pull_timeout", "engine.unfiltered", "engine.conflict"])
def test_what_is_not_its_own_doing_is_not_held_against_it(code: str) -> None:
    budget = RestartBudget(FakeClock(), 1)
    budget.ended(SOURCE, "file", EngineError("x", code=code))
    budget.demand(SOURCE, "file")
    assert code.removeprefix("engine.") not in OWN
