"""Logs that were announced, until they are held against a range that was asked for.

An announcement has no end: a log of a block may be missing, or come late. So blocks that were read in this way are
remembered, and asked about together now and then.
"""

from collections.abc import Sequence

from ogpu_provider.chain.news import Json, LogId, Told, log_id
from ogpu_provider.domain.facts import Block

BUSY_BLOCKS = 16
QUIET_BLOCKS = 256
"""Blocks after which announcements are checked: where there were logs or blooms are not known to be filled, or not."""
SETTLED = 4
"""Blocks below the newest that a lagging node may not have."""
_WAITING = 128  # blocks whose logs came, and whose header did not


class Overheard:
    """`filled`: whether blooms of blocks with our logs were seen to promise them, and never seen not to."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Told]] = {}
        self._blocks: dict[str, Block] = {}
        self._known: set[LogId] = set()
        self._filled: bool | None = None
        self._busy = False

    def put(self, logs: Sequence[Told]) -> None:
        for told in logs:
            if not told.log.get("removed"):
                self._waiting.setdefault(str(told.log.get("blockHash")).lower(), []).append(told)
        while len(self._waiting) > _WAITING:
            del self._waiting[next(iter(self._waiting))]

    def has(self, block: Block) -> bool:
        return block.hash in self._waiting

    def take(self, block: Block) -> list[Told]:
        """What was announced of a block that is delivered now."""
        found = self._waiting.pop(block.hash, [])
        self._known |= {log_id(told.log) for told in found}
        self._busy |= bool(found)
        self._blocks[block.hash] = block
        return found

    def late(self) -> list[Block]:
        """Blocks that were delivered already, and of which more has come."""
        return [self._blocks[name] for name in self._waiting if name in self._blocks]

    def learn(self, *, promised: bool, there: bool) -> None:
        """Whether a block's bloom promised logs, and whether there were some."""
        if there:
            self._filled = promised and self._filled is not False

    def due(self) -> bool:
        blocks = len(self._blocks)
        quiet = self._filled is True and not self._busy
        return blocks >= (QUIET_BLOCKS if quiet else BUSY_BLOCKS) + SETTLED

    def span(self) -> tuple[int, Block] | None:
        """First number and last block of what may be checked now."""
        blocks = sorted(self._blocks.values(), key=lambda block: block.number)[:-SETTLED]
        return (blocks[0].number, blocks[-1]) if blocks else None

    def block_of(self, log: Json) -> Block | None:
        """The block of a log that was not announced, None where the log is known or the block was read otherwise."""
        if log_id(log) in self._known:
            return None
        return self._blocks.get(str(log.get("blockHash")).lower())

    def settle(self, end: int) -> None:
        """Everything up to this number was checked, or was read anew."""
        self._blocks = {name: block for name, block in self._blocks.items() if block.number > end}
        self._known = {one for one in self._known if one[0] in self._blocks}
        self._busy = bool(self._known)

    def forget_above(self, number: int) -> None:
        """Blocks above this one were undone."""
        self._blocks = {name: block for name, block in self._blocks.items() if block.number <= number}
