import asyncio
from contextlib import suppress

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.service.notify import Notifier
from ogpu_provider.service.watchdog import Watchdog, Work
from tests.fakes.clock import FakeClock


class Manager(Notifier):
    def __init__(self) -> None:
        super().__init__()
        self.signs = 0

    def _send(self, message: str) -> None:
        assert message == "WATCHDOG=1"
        self.signs += 1


class Part:
    """A part of the daemon that answers, until it is stuck."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.asked = 0

    async def proof(self) -> None:
        self.asked += 1
        await self.free.wait()


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_signs_of_life_come_four_times_in_the_limit_and_only_while_every_part_answers() -> None:
    clock, manager, part = FakeClock(), Manager(), Part()
    running = asyncio.create_task(Watchdog(manager, 60.0, {"part": part.proof}, clock).run())
    await clock.advance(60.0)
    assert manager.signs == 5
    part.free.clear()
    await clock.advance(15.0)
    await clock.advance(600.0)
    assert manager.signs == 5, "stuck: silence, whatever the time"
    part.free.set()
    await clock.advance(15.0)
    assert manager.signs > 5
    await stop(running)


async def test_a_part_in_trouble_that_answers_is_alive() -> None:
    async def full() -> None:
        raise StoreError("no space left", code="store.full")

    manager = Manager()
    await Watchdog(manager, 60.0, {"journal": full}, FakeClock()).round()
    assert manager.signs == 1


async def test_nobody_watches_nothing_is_asked() -> None:
    part = Part()
    await Watchdog(Manager(), None, {"part": part.proof}, FakeClock()).run()
    assert part.asked == 0


async def test_work_that_lasts_too_long_is_no_proof_until_it_ends() -> None:
    clock = FakeClock()
    work = Work(clock, patience=10.0)
    await work.ended()
    with work.piece():
        await work.ended()
        await clock.advance(11.0)
        proof = asyncio.create_task(work.ended())
        await clock.advance(1.0)
        assert not proof.done()
        with work.piece():
            await clock.advance(1.0)
            assert not proof.done(), "newer work does not hide the old"
    await clock.advance(1.0)
    assert proof.done()
