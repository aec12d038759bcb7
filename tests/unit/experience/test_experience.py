"""What the daemon has seen, over a restart and in its status."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider import policies
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.learnt import Fact
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.experience import TIDY_S, Experience
from ogpu_provider.scheduler.desktop import Session
from ogpu_provider.settings import Settings
from ogpu_provider.store.memory import MemoryStore
from tests.fakes.clock import FakeClock
from tests.unit.pipeline.stage import Outside

SOURCE, CLIENT = Address("0x" + "aB" * 20), Address("0x" + "cD" * 20)


def settings(**sections: Any) -> Settings:
    return Settings.model_validate({"breakers": {"limit": 2, "half_life": 100}, **sections})


def failed(clock: FakeClock) -> Task:
    return Task(Address("0x01"), SOURCE, TaskState.FAILED, 1, 0.0, updated_at=clock.now())


async def nobody() -> tuple[Session, ...]:
    return ()


async def test_a_kill_and_a_start_leave_a_breaker_open_and_time_closes_and_forgets_it() -> None:
    clock, store = FakeClock(), MemoryStore()
    first = Experience(settings(), clock, store, nobody)
    for _ in range(2):
        first.moved(failed(clock), TaskState.EXECUTING, CLIENT)
    await first.lessons.write()
    await clock.advance(10)
    again = Experience(settings(), clock, store, nobody)
    await again.restore()
    [breaker] = again.document()["breakers"]["sources"]
    assert (breaker["address"], breaker["open"], breaker["limit"]) == (SOURCE, True, 2)
    assert breaker["weight"] == pytest.approx(2 * 2 ** (-10 / 100), abs=1e-3)
    assert breaker["closes_at"] == pytest.approx(clock.now() + 90)
    await clock.advance(91)
    assert [each["open"] for each in again.document()["breakers"]["sources"]] == [False]
    await clock.advance(1000)
    late = Experience(settings(), clock, store, nobody)
    await late.restore()
    await late.lessons.write()
    assert late.document()["breakers"] == {"sources": [], "clients": []}
    assert await store.learnt() == [], "what weighs nothing is not kept for ever"


async def test_a_running_daemon_forgets_too() -> None:
    clock, store = FakeClock(), MemoryStore()
    part = Experience(settings(), clock, store, nobody)
    service = asyncio.ensure_future(part.run(lambda: None))
    part.moved(failed(clock), TaskState.EXECUTING, None)
    await clock.advance(10)
    assert [learnt.key.fact for learnt in await store.learnt()] == [Fact.FAILED]
    await clock.advance(3 * TIDY_S)
    assert part.document()["breakers"]["sources"] == []
    assert await store.learnt() == []
    service.cancel()


async def test_the_price_in_force_and_the_owner_are_in_the_status(tmp_path: Path) -> None:
    clock = FakeClock()
    file = tmp_path / "price"
    file.write_text("0.05")

    async def somebody() -> tuple[Session, ...]:
        return (Session("owner at seat0 (x11)"),)

    chosen = settings(
        price={"coin_price_file": str(file), "coin_price_max_age": 1.0},
        owner={"pause_in_use": True, "power_limit": 250.0},
    )
    part = Experience(chosen, clock, MemoryStore(), somebody)
    await part.restore()
    found = part.document()
    assert (found["coin_price"]["price"], found["coin_price"]["code"]) == (0.05, "price.stale")
    assert found["owner"] == {"in_use": "owner at seat0 (x11)", "power_limit_wished": 250.0}
    unasked = Experience(settings(), clock, MemoryStore(), somebody)
    await unasked.restore()
    assert unasked.document()["owner"]["in_use"] is None


@pytest.mark.parametrize("chosen", [{"bid": "cheapest"}, {"bid_by_source": {SOURCE.lower(): "percentage:200"}}])
def test_a_bid_strategy_that_is_none_stops_the_start(chosen: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"price\.bid"):
        policies.assessment_policy(settings(price=chosen))


def test_each_source_may_have_its_own_bid() -> None:
    policy = policies.assessment_policy(settings(price={"bid_by_source": {SOURCE.lower(): "percentage:50"}}))
    [(source, _)] = policy.bid_by_source.items()
    assert source.lower() == SOURCE.lower()


def test_cards_are_shared_only_where_the_operator_says_so() -> None:
    knowledge = Experience(settings(), FakeClock(), Outside().journal, nobody).lessons.knowledge
    assert policies.sharing(settings(), knowledge) is None
    sharing = policies.sharing(settings(devices={"share": True, "share_reserve_mib": 512}), knowledge)
    assert sharing is not None
    assert (sharing.reserve, sharing.knowledge) == (512 << 20, knowledge)
