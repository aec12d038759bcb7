"""Two endpoints that lag by changing depths and answer in turns, over ten thousand blocks: no block is skipped."""

import random
from collections.abc import Sequence
from typing import Any

from ogpu_provider.chain.wire import Call, JsonRpcError
from tests.fakes.clock import settle
from tests.fakes.ledger import Ledger
from tests.unit.chain.test_watcher import cursor, following

BLOCKS = 10_000


class LaggingPair(Ledger):
    """Every answer comes from a node that does not know the newest 0 to 8 blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.draw = random.Random(23)

    async def batch(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        self.hidden = min(self.draw.randint(0, 8), len(self.blocks) - 1)
        return await super().batch(calls)


async def test_a_lagging_pair_skips_no_block_in_ten_thousand() -> None:
    ledger = LaggingPair()
    ledger.grow([0] * 20)
    draw = random.Random(29)
    async with following(ledger, cursor(ledger.blocks[0])) as run:
        for number in range(BLOCKS):
            ledger.mine(draw.choice((0, 0, 0, 1, 2)))
            late = draw.randint(0, 3)  # whose announcement is heard first, and how late it is
            ledger.announce(ledger.blocks[-1 - late])
            await settle(4)
            if number % 100 == 0:
                await run.clock.advance(2)
        ledger.draw = random.Random(0)
        for _ in range(200):
            ledger.mine()
            ledger.announce()
            await run.until_quiet()
            if len(set(run.diary.tasks)) == len(ledger.tasks()):
                break
        assert list(dict.fromkeys(run.diary.tasks)) == ledger.tasks(), "every log, and none beside, in order"
        canonical = [header["hash"] for header in ledger.blocks]
        first = list(dict.fromkeys(block.hash for block in run.diary.blocks))
        assert set(first) <= set(canonical)
        skipped = set(canonical[1:]) - set(first)
        assert all(not ledger.logs[name] for name in skipped), "only blocks without a log are passed over"
        assert run.watcher.reorganisations == 0
