"""Logs that come three times, in any order, and some of them as removed: the same end state as if they came once."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.task import OVER
from tests.fakes.chain import OTHER
from tests.fakes.clock import settle
from tests.fakes.ledger import Ledger
from tests.unit.chain.test_watcher import cursor, following
from tests.unit.pipeline.stage import CONFIG, Daemon, Outside, running, serving


class Echo(Ledger):
    """Every answer about logs holds each three times, in another order each time; announcements too."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.tells_logs = True
        self.draw = random.Random(seed)

    def _answer(self, method: str, params: tuple[Any, ...]) -> Any:
        answer = super()._answer(method, params)
        return self.echoed(answer) if method == "eth_getLogs" and isinstance(answer, list) else answer

    def echoed(self, logs: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """What is said to be removed is of a block that is gone."""
        gone = [{**log, "removed": True, "blockHash": "0x" + "66" * 32} for log in logs]
        found = [*logs, *logs, *logs, *gone]
        self.draw.shuffle(found)
        return found

    def announce_logs(self, most: int = 10**6, *, first: int = 0) -> None:
        for _ in range(3):
            header = self.blocks[-self.draw.randint(1, min(6, len(self.blocks)))]
            for stream in self.streams:
                for log in self.echoed(list(self.logs[header["hash"]])):
                    stream.put_log(log, self.name)


@pytest.mark.parametrize("seed", range(8))
async def test_the_watcher_delivers_what_a_twin_reads_who_hears_each_log_once(seed: int) -> None:
    ledger = Echo(seed)
    async with following(ledger, cursor(ledger.head)) as run:
        for _ in range(60):
            for _ in range(ledger.draw.randint(1, 3)):
                ledger.mine(ledger.draw.randint(0, 3))
            for _ in range(ledger.draw.randint(0, 2)):
                ledger.announce()
                ledger.announce(ledger.blocks[-ledger.draw.randint(1, min(4, len(ledger.blocks)))])
            ledger.announce_logs()
            await settle()
        ledger.mine()
        ledger.announce()
        await run.until_quiet()
        for _ in range(20):
            ledger.mine()
            ledger.announce()
            await settle()
        await run.until_quiet()
        kept = sorted(run.diary.kept, key=lambda fact: (fact.origin.block_number, fact.origin.log_index))
        assert [fact.task for fact in kept] == ledger.tasks()  # type: ignore[union-attr]
        assert run.watcher.reorganisations == 0


class Replay:
    """Delivers a block as it comes; with `draw`, and everything before it three times more, in any order."""

    def __init__(self, daemon: Daemon, draw: random.Random | None) -> None:
        self.daemon, self.draw = daemon, draw
        self.blocks: list[tuple[Block, list[Fact]]] = []

    async def deliver(self, *facts: Fact) -> None:
        self.blocks.append((self.daemon.outside.chain.block(), list(facts)))
        again = self.blocks * 3 if self.draw else []
        if self.draw:
            self.draw.shuffle(again)
        for block, found in [self.blocks[-1], *again, self.blocks[-1]]:
            await self.daemon.intake.deliver(block, [*found, *found])
            await settle()


async def lives(draw: random.Random | None) -> dict[str, list[str]]:
    """A task that is answered and paid, one that is canceled, one that another wins; their histories."""
    outside = Outside()
    source = outside.source(answers=False)
    chain = outside.chain
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        replay = Replay(daemon, draw)
        first, second, third = (chain.publish_task(source, config_url=CONFIG) for _ in range(3))
        await replay.deliver(first, second, third)
        [(_, subject, tx)] = await daemon.sign()
        await replay.deliver(*chain.attempt(subject, tx=tx))
        await replay.deliver(chain.cancel(second.task))
        await daemon.results.accept(source, first.task, b"{}")
        await settle()
        signed = {subject: tx for _, subject, tx in await daemon.sign()}
        await replay.deliver(*chain.submit(first.task, tx=signed[first.task]))
        await replay.deliver(*chain.attempt(third.task, OTHER), *chain.submit(third.task, OTHER))
        await daemon.confirm()
        await replay.deliver()
        await replay.deliver()
        found = {}
        for name, fact in (("paid", first), ("canceled", second), ("lost", third)):
            lines = await outside.journal.history(fact.task)
            intents = await outside.journal.intents_of(fact.task)
            found[name] = [*(line.after for line in lines), *(str(row.intent.effect) for row in intents)]
        return found


@pytest.mark.parametrize("seed", range(5))
async def test_the_path_ends_where_a_twin_ends_who_hears_each_block_once(seed: int) -> None:
    once = await lives(None)
    ends = {name: [step for step in path if step in OVER][-1] for name, path in once.items()}
    assert ends == {"paid": "settled", "canceled": "canceled", "lost": "lost"}
    assert await lives(random.Random(seed)) == once
