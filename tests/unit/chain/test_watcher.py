"""The watcher over a chain that grows, forks, lags and falls silent. What must hold: no fact of the chain that
remains is missed, and facts come in order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ogpu_provider.chain.pace import Pace
from ogpu_provider.chain.watcher import Watcher
from ogpu_provider.domain.errors import RpcUnavailable, WrongNetwork
from ogpu_provider.domain.facts import Block, Fact, TaskPublished
from ogpu_provider.domain.units import Address, Hash
from tests.fakes.clock import FakeClock, settle
from tests.fakes.ledger import NETWORK, Ledger
from tests.fakes.loop import run as jumping

DOWN = RpcUnavailable("down")
NEAR = 16
"""The newest blocks of a gap are read one by one."""


class Diary:
    """What was delivered."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.facts: list[Fact] = []
        self._kept: dict[Fact, None] = {}
        self.broken: Exception | None = None

    async def deliver(self, block: Block, facts: Sequence[Fact]) -> None:
        if self.broken:
            raise self.broken
        assert all(fact.origin.block_hash == block.hash for fact in facts)
        self.blocks.append(block)
        self.facts += facts
        self._kept |= dict.fromkeys(facts)

    async def undo(self, ancestor: Block) -> None:
        self._kept = {fact: None for fact in self._kept if fact.origin.block_number <= ancestor.number}

    @property
    def kept(self) -> list[Fact]:
        """What was not undone, each once, in the order in which it came."""
        return list(self._kept)

    @property
    def tasks(self) -> list[Address]:
        return [fact.task for fact in self.facts if isinstance(fact, TaskPublished)]

    @property
    def numbers(self) -> list[int]:
        return [block.number for block in self.blocks]


class Run:
    def __init__(self, ledger: Ledger, diary: Diary, clock: FakeClock, watcher: Watcher) -> None:
        self.ledger, self.diary, self.clock, self.watcher = ledger, diary, clock, watcher

    async def until_quiet(self) -> None:
        await self.clock.advance(12)


@asynccontextmanager
async def following(ledger: Ledger, start: tuple[int, Hash] | None = None, **options: Any) -> AsyncIterator[Run]:
    diary, clock = Diary(), FakeClock()
    options = {"close": 0.0, "random": lambda: 0.5, **options}
    watcher = Watcher(ledger, NETWORK, diary.deliver, clock, start, undo=diary.undo, **options)
    task = asyncio.ensure_future(watcher.run())
    try:
        await settle()
        yield Run(ledger, diary, clock, watcher)
        if task.done():
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


def cursor(header: dict[str, Any]) -> tuple[int, Hash]:
    return int(header["number"], 16), Hash(header["hash"])


async def test_without_a_cursor_it_begins_at_the_newest_block() -> None:
    ledger = Ledger()
    ledger.grow([1, 1, 2])
    async with following(ledger) as run:
        assert run.diary.numbers == [3]
        assert run.diary.tasks == ledger.tasks()[2:]


async def test_an_announced_block_costs_one_call_and_no_time() -> None:
    ledger = Ledger()
    async with following(ledger) as run:
        ledger.counts.clear()
        for tasks in (0, 1, 0, 3):
            ledger.mine(tasks)
            ledger.announce()
            await settle()
        assert ledger.counts == {"eth_getLogs": 4}
        assert run.diary.numbers == [0, 1, 2, 3, 4]
        assert run.diary.tasks == ledger.tasks()


async def test_a_block_announced_twice_is_delivered_once() -> None:
    ledger = Ledger()
    async with following(ledger) as run:
        ledger.mine(1)
        for _ in range(3):
            ledger.announce()
            await settle()
        ledger.announce(ledger.blocks[0])
        await settle()
        assert run.diary.numbers == [0, 1]


async def test_announced_logs_cost_no_call_and_those_that_were_not_announced_are_found_by_the_next_check() -> None:
    for bloom in (True, False):
        ledger = Ledger(bloom=bloom)
        ledger.tells_logs = True
        async with following(ledger) as run:
            ledger.counts.clear()
            for tasks in (0, 2, 0, 1):
                ledger.mine(tasks)
                ledger.announce()
                ledger.announce_logs()
                await settle()
            assert ledger.counts == {}
            assert run.diary.tasks == ledger.tasks()
            ledger.mine(2)
            ledger.announce()
            ledger.announce_logs(1)  # and the second is never announced
            for _ in range(265 if bloom else 20):
                ledger.mine()
                ledger.announce()
                await settle(8)
            assert sorted(run.diary.tasks) == sorted(ledger.tasks())
            assert ledger.counts["eth_getLogs"] == 1


def test_logs_that_are_announced_one_by_one_are_delivered_together() -> None:
    """Each delivery costs a commit, and those behind it wait for that."""

    async def story() -> None:
        ledger = Ledger()
        ledger.tells_logs = True
        async with following(ledger, close=0.5) as run:
            ledger.mine(3)
            ledger.announce()
            for number in range(3):
                ledger.announce_logs(number + 1, first=number)
                await settle()
                assert run.diary.numbers == [0]
            await asyncio.sleep(0.6)
            assert run.diary.numbers == [0, 1]
            assert run.diary.tasks == ledger.tasks()

    jumping(story())


@pytest.mark.parametrize(("both", "asked"), [(True, 0), (False, 1)])
async def test_blocks_whose_logs_two_endpoints_announced_are_not_asked_about(both: bool, asked: int) -> None:
    ledger = Ledger()
    ledger.tells_logs = True
    ledger.both_tell = both
    async with following(ledger) as run:
        ledger.counts.clear()
        for _ in range(70):
            ledger.mine(1)
            ledger.announce()
            ledger.announce_logs()
            await settle(20)
        assert ledger.counts["eth_getLogs"] == asked
        assert run.diary.tasks == ledger.tasks()


@pytest.mark.parametrize("header", [{"gasUsed": "0x0"}, {"gasUsed": "0x5208", "logsBloom": "0x01"}])
async def test_blocks_that_cannot_hold_logs_of_ours_cost_nothing(header: dict[str, str]) -> None:
    """Those where no gas was used; where blooms are seen to be filled, those without our marks."""
    ledger = Ledger()
    ledger.tells_logs = True
    ledger.blocks[0] |= header
    async with following(ledger) as run:
        ledger.counts.clear()
        for _ in range(600):
            ledger.announce(ledger.mine() | header)
            await settle(5)
        assert len(run.diary.numbers) == 601
        assert ledger.counts == {}


async def test_where_blooms_say_nothing_announcements_are_asked_about_soon() -> None:
    ledger = Ledger(bloom=False)
    ledger.tells_logs = True
    async with following(ledger) as run:
        ledger.mine(1)  # and its log is not announced, and no bloom promises it
        ledger.announce()
        for _ in range(20):
            ledger.announce(ledger.mine() | {"gasUsed": "0x5208"})
            await settle(8)
        assert run.diary.tasks == ledger.tasks()


async def test_a_bloom_that_is_caught_lying_is_not_believed_again() -> None:
    ledger = Ledger()
    ledger.tells_logs = True
    async with following(ledger) as run:
        ledger.announce(ledger.mine(1) | {"logsBloom": "0x01"})
        ledger.announce_logs()
        await settle()
        ledger.announce(ledger.mine(1) | {"logsBloom": "0x01"})  # and its log is never announced
        for _ in range(20):
            ledger.announce(ledger.mine() | {"logsBloom": "0x01"})
            await settle(8)
        assert run.diary.tasks == ledger.tasks()


async def test_a_block_whose_bloom_promises_more_than_was_announced_is_read_at_once() -> None:
    ledger = Ledger()
    ledger.tells_logs = True
    async with following(ledger) as run:
        ledger.mine(1)
        ledger.announce()
        await asyncio.sleep(0.3)
        assert run.diary.tasks == ledger.tasks()
        ledger.announce_logs()  # late, and known by now
        await settle()
        assert run.diary.kept == list(dict.fromkeys(run.diary.facts))


async def test_heads_that_were_not_announced_are_read_by_range() -> None:
    ledger = Ledger()
    async with following(ledger) as run:
        ledger.grow([0, 1, 0, 0, 2, 0, 1])
        ledger.announce()
        await settle()
        assert run.diary.tasks == ledger.tasks()
        assert run.diary.numbers == [0, 2, 5, 6, 7]  # those without facts are skipped, but for the end of a range


async def test_it_goes_on_from_a_cursor_with_overlap() -> None:
    ledger = Ledger()
    ledger.grow([1] * 20)
    start = cursor(ledger.blocks[15])
    async with following(ledger, start, overlap=4) as run:
        assert run.diary.numbers == list(range(12, 21))
        assert run.diary.tasks == ledger.tasks()[11:]


async def test_long_gaps_are_read_in_growing_ranges_and_few_calls() -> None:
    ledger = Ledger()
    ledger.grow([1 if n % 100 == 0 else 0 for n in range(5000)])
    start = cursor(ledger.blocks[0])
    async with following(ledger, start, chunk=500) as run:
        assert run.diary.tasks == ledger.tasks()
        assert len(run.diary.tasks) == 50
        assert ledger.counts["eth_getLogs"] <= 6 + NEAR
        assert ledger.round_trips <= 15


async def test_a_range_that_the_node_refuses_is_halved_until_it_fits() -> None:
    ledger = Ledger()
    ledger.grow([1] * 200)
    ledger.limit = 7
    async with following(ledger, cursor(ledger.blocks[0])) as run:
        await settle(2000)
        assert run.diary.tasks == ledger.tasks()


async def test_facts_that_do_not_matter_cost_nothing() -> None:
    ledger = Ledger()
    ledger.grow([1] * 300)
    start = cursor(ledger.blocks[0])
    wanted = ledger.tasks()[150]
    async with following(
        ledger, start, concerning=lambda facts: [one for one in facts if getattr(one, "task", "") == wanted]
    ) as run:
        assert run.diary.tasks == [wanted]
        assert ledger.counts["eth_getBlockByNumber"] <= 6 + NEAR


async def test_a_lost_connection_is_filled_up_after() -> None:
    ledger = Ledger()
    async with following(ledger) as run:
        ledger.grow([1, 0, 2])
        ledger.hang_up()
        ledger.outages = [DOWN, DOWN, DOWN]
        await run.until_quiet()
        assert run.diary.tasks == ledger.tasks()
        ledger.mine(1)
        ledger.announce()
        await settle()
        assert run.diary.tasks == ledger.tasks()


async def test_without_a_connection_for_heads_it_asks_over_the_other_way() -> None:
    ledger = Ledger()
    async with following(ledger) as run:
        ledger.socket_down = True
        ledger.hang_up()
        for _ in range(10):
            ledger.mine(1)
            await run.clock.advance(2)
            assert run.diary.tasks == ledger.tasks()
        ledger.socket_down = False
        await run.clock.advance(2)
        polled = ledger.counts["eth_getBlockByNumber"]
        ledger.mine(1)
        ledger.announce()
        await run.until_quiet()
        assert run.diary.tasks == ledger.tasks()
        assert ledger.counts["eth_getBlockByNumber"] == polled  # pushed again


async def test_a_node_that_refuses_subscriptions_is_polled() -> None:
    ledger = Ledger()
    ledger.refuses_subscriptions = True
    async with following(ledger) as run:
        ledger.mine(1)
        await run.clock.advance(3)
        assert run.diary.tasks == ledger.tasks()
        assert ledger.counts["eth_subscribe"] == 1


async def test_a_subscription_that_fell_silent_is_noticed() -> None:
    ledger = Ledger()
    async with following(ledger, stall=0.02) as run:
        ledger.mine(1)  # and nobody announces it
        async with asyncio.timeout(60):
            while run.diary.tasks != ledger.tasks():
                await asyncio.sleep(0.01)
                await run.clock.advance(0.5)


async def test_a_quiet_chain_is_not_taken_for_a_dead_subscription() -> None:
    ledger = Ledger()
    async with following(ledger, stall=0.02):
        await asyncio.sleep(0.1)
        assert ledger.counts["eth_subscribe"] == 1


async def test_polling_follows_the_rhythm_of_the_chain() -> None:
    ledger = Ledger(pushes=False)
    async with following(ledger) as run:
        for _ in range(30):
            ledger.mine(1)
            await run.clock.advance(1)
        assert run.diary.tasks == ledger.tasks()
        ledger.counts.clear()
        for _ in range(30):
            ledger.mine()
            await run.clock.advance(1)
        assert ledger.counts["eth_getLogs"] == 30
        assert ledger.counts["eth_getBlockByNumber"] <= 30 * 6


@pytest.mark.parametrize("depth", [1, 2, 3, 7, 12])
async def test_a_reorganisation_is_walked_back_and_delivered_anew(depth: int) -> None:
    ledger = Ledger()
    async with following(ledger) as run:
        for _ in range(15):
            ledger.mine(1)
            ledger.announce()
            await settle()
        before = len(run.diary.blocks)
        ledger.fork(depth, [1] * (depth + 1))
        ledger.announce()
        await run.until_quiet()
        assert run.watcher.reorganisations == 1
        assert run.diary.tasks[-depth - 1 :] == ledger.tasks()[-depth - 1 :]
        assert run.diary.numbers[before:] == list(range(16 - depth, 17))


async def test_a_node_that_is_behind_undoes_nothing() -> None:
    ledger = Ledger()
    async with following(ledger) as run:
        for _ in range(6):
            ledger.mine(1)
            ledger.announce()
            await settle()
        stale, real = dict(ledger.head, parentHash="0x" + "77" * 32, hash="0x" + "88" * 32), ledger.head
        ledger.hidden = 3
        ledger.announce({**stale, "number": hex(len(ledger.blocks))})
        await run.clock.advance(1)
        ledger.hidden = 0
        ledger.announce(real)
        await run.until_quiet()
        assert run.watcher.reorganisations == 0
        assert run.diary.tasks == ledger.tasks()


async def test_a_block_replaced_by_another_of_its_height_is_noticed() -> None:
    ledger = Ledger()
    async with following(ledger) as run:
        ledger.mine(1)
        ledger.announce()
        await settle()
        ledger.fork(1, [1])
        ledger.announce()
        await settle()
        assert run.diary.numbers == [0, 1, 1]
        assert run.diary.tasks[-1:] == ledger.tasks()


async def test_a_chain_that_got_shorter_is_followed() -> None:
    ledger = Ledger()
    async with following(ledger) as run:
        for _ in range(6):
            ledger.mine(1)
            ledger.announce()
            await settle()
        ledger.fork(4, [1, 1])
        ledger.announce()
        await settle()
        assert run.diary.numbers[-2:] == [3, 4]
        assert run.diary.tasks[-2:] == ledger.tasks()[-2:]


async def test_a_reorganisation_while_away_is_walked_back() -> None:
    ledger = Ledger()
    ledger.grow([1] * 400)
    start = cursor(ledger.head)
    ledger.fork(5, [1] * 9)
    async with following(ledger, start) as run:
        await run.until_quiet()
        assert run.watcher.reorganisations == 1
        assert run.diary.tasks[-9:] == ledger.tasks()[-9:]


async def test_a_node_behind_the_cursor_is_waited_for() -> None:
    ledger = Ledger()
    ledger.grow([1] * 10)
    start = cursor(ledger.head)
    ledger.hidden = 5
    async with following(ledger, start) as run:
        await run.clock.advance(5)
        assert run.diary.blocks == []
        ledger.hidden = 0
        ledger.mine(1)
        await run.until_quiet()
        assert run.diary.tasks[-1] == ledger.tasks()[-1]
        assert run.watcher.reorganisations == 0


async def test_a_node_that_does_not_have_the_announced_block_is_asked_again() -> None:
    ledger = Ledger()
    async with following(ledger) as run:
        ledger.mine(1)
        ledger.hidden = 1
        ledger.announce()
        await run.clock.advance(0.05)
        assert run.diary.tasks == []
        ledger.hidden = 0
        await run.clock.advance(0.2)
        assert run.diary.tasks == ledger.tasks()


async def test_an_empty_answer_that_the_bloom_contradicts_is_doubted() -> None:
    ledger = Ledger()
    async with following(ledger) as run:
        ledger.mine(1)
        ledger.forgetful = 1
        ledger.announce()
        await run.clock.advance(1)
        assert run.diary.tasks == ledger.tasks()


async def test_a_bloom_that_is_never_filled_hides_nothing() -> None:
    ledger = Ledger(bloom=False)
    async with following(ledger) as run:
        ledger.mine(2)
        ledger.announce()
        await settle()
        assert run.diary.tasks == ledger.tasks()


async def test_another_network_ends_it() -> None:
    ledger = Ledger()
    ledger.outages = [WrongNetwork("other chain")]
    with pytest.raises(WrongNetwork):
        await Watcher(ledger, NETWORK, Diary().deliver, FakeClock(), None).run()


async def test_an_error_of_the_receiver_ends_it_and_the_block_is_not_lost() -> None:
    ledger = Ledger()
    diary = Diary()
    diary.broken = RuntimeError("disk")
    with pytest.raises(RuntimeError):
        await Watcher(ledger, NETWORK, diary.deliver, FakeClock(), None).run()
    assert diary.blocks == []


Act = Callable[[Run], None]


def acts() -> st.SearchStrategy[tuple[str, int, list[int]]]:
    kinds = st.sampled_from(["grow", "grow_quietly", "fork", "hang_up", "outage", "lag", "forget", "wait"])
    return st.tuples(kinds, st.integers(1, 6), st.lists(st.integers(0, 2), min_size=1, max_size=6))


@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.booleans(), st.lists(acts(), max_size=12))
def test_whatever_happens_no_fact_of_the_remaining_chain_is_missed(
    pushes: bool, script: list[tuple[str, int, list[int]]]
) -> None:
    asyncio.run(_play(pushes, script))


async def _play(pushes: bool, script: list[tuple[str, int, list[int]]]) -> None:
    ledger = Ledger(pushes=pushes)
    async with following(ledger, cursor(ledger.head)) as run:
        for kind, number, blocks in script:
            if kind in ("grow", "grow_quietly"):
                for tasks in blocks:
                    ledger.mine(tasks)
                    if kind == "grow":
                        ledger.announce()
                        await settle(number * 3)
            elif kind == "fork":
                ledger.hidden = 0
                ledger.fork(number, blocks)
                ledger.announce()
            elif kind == "hang_up":
                ledger.hang_up()
            elif kind == "outage":
                ledger.outages += [DOWN] * number
            elif kind == "lag":
                ledger.hidden = min(number, len(ledger.blocks) - 1)
            elif kind == "forget":
                ledger.hidden = 0
                ledger.outages.clear()
                await run.until_quiet()
                ledger.forgetful = 1
                ledger.mine(1)
                ledger.announce()
                await run.clock.advance(3)
            else:
                await run.clock.advance(number / 4)
        ledger.hidden = 0
        ledger.outages.clear()
        ledger.mine()
        ledger.announce()
        await run.until_quiet()
        canonical = {header["hash"] for header in ledger.blocks}
        assert {f.origin.block_hash for f in run.diary.kept} <= canonical, "what is gone was said to be undone"
        remaining = [f for f in run.diary.facts if f.origin.block_hash in canonical]
        once = list(dict.fromkeys(f.task for f in remaining if isinstance(f, TaskPublished)))
        assert once == ledger.tasks()
        assert run.diary.blocks[-1].hash == ledger.head["hash"]


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=50))
def test_the_pause_is_bounded_whatever_the_rhythm(gaps: list[float]) -> None:
    pace, at = Pace(shortest=0.05, longest=2.0), 0.0
    for number, gap in enumerate(gaps):
        at += gap
        pace.heard(Block(number, Hash("0x"), Hash("0x"), 0), at)
        assert 0.05 <= pace.pause(at) <= 2.0
        assert 0.05 <= pace.pause(at + 1000) <= 2.0


def test_the_pace_learns_the_time_between_blocks() -> None:
    pace = Pace()
    for number in range(60):
        pace.heard(Block(2 * number, Hash("0x"), Hash("0x"), 0), number * 0.8)
    assert abs(pace.period - 0.4) < 0.01
    assert 0.25 < pace.pause(59 * 0.8) < 0.3
