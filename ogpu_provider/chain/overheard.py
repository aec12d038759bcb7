"""Logs that were announced, until they are held against a range that was asked for.

An announcement has no end: a log of a block may be missing, or come late. A block's header says whether there may be
any: where no gas was used there are none, and where blooms are filled, a bloom without our marks rules them out. Such
blocks need no question, so that an idle chain costs none. The others are remembered, and asked about together.
"""

from collections.abc import Callable, Sequence

from ogpu_provider.chain.news import Json, LogId, Told, log_id
from ogpu_provider.domain.facts import Block

OPEN_BLOCKS = 64
BLIND_BLOCKS = 16
"""So many blocks that may hold more are asked about together: where blooms are known to be filled, and where not."""
OPEN_LOGS = 512
"""So many logs of such blocks are asked about, however few the blocks: the answer lies in memory as a whole."""
OLD_BLOCKS = 256
"""So many blocks behind the newest, one alone is asked about."""
SETTLED = 4
"""Blocks below the newest that a lagging node may not have."""
_REMEMBERED = 64  # settled blocks, of which more logs may come
_WAITING = 128  # blocks whose logs came, and whose header did not


class Overheard:
    """`filled`: whether blooms were seen that say something, and none that did not promise logs of ours."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Told]] = {}
        self._blocks: dict[str, Block] = {}
        self._known: dict[str, set[LogId]] = {}
        self._open: set[str] = set()
        self._filled: bool | None = None

    def put(self, logs: Sequence[Told]) -> None:
        for told in logs:
            if not told.log.get("removed"):
                self._waiting.setdefault(str(told.log.get("blockHash")).lower(), []).append(told)
        while len(self._waiting) > _WAITING:
            del self._waiting[next(iter(self._waiting))]

    def has(self, block: Block) -> bool:
        return block.hash in self._waiting

    def count(self, block: Block) -> int:
        """How many logs were announced of a block that is not delivered yet."""
        return len(self._waiting.get(block.hash, ()))

    def take(self, block: Block, *, ruled_out: bool = False) -> list[Told]:
        """What was announced of a block that is delivered now. `ruled_out`: its header says that there is no more."""
        found = self._waiting.pop(block.hash, [])
        if found:
            self._known.setdefault(block.hash, set()).update(log_id(told.log) for told in found)
        self._blocks[block.hash] = block
        if found or not ruled_out:
            self._open.add(block.hash)
        elif not self._open:
            self._forget_settled()
        return found

    def late(self) -> list[Block]:
        """Blocks that were delivered already, and of which more has come."""
        return [self._blocks[name] for name in self._waiting if name in self._blocks]

    def learn(self, *, promised: bool, there: bool, marked: bool) -> None:
        """Whether a block's bloom promised logs of ours, whether there were some, and whether it has any mark."""
        if there and not promised:
            self._filled = False
        elif marked and self._filled is None:
            self._filled = True

    @property
    def filled(self) -> bool:
        return self._filled is True

    def vouch(self, seconded: Callable[[LogId], bool]) -> None:
        """Blocks whose announced logs all came from two endpoints need no question."""
        self._open -= {name for name, logs in self._known.items() if all(map(seconded, logs))}
        self._forget_settled()

    def due(self) -> bool:
        if not self._open:
            return False
        blocks = [block.number for block in self._blocks.values()]
        oldest = min(self._blocks[name].number for name in self._open)
        enough = OPEN_BLOCKS if self.filled else BLIND_BLOCKS
        if len(self._open) >= enough + SETTLED or max(blocks) - oldest >= OLD_BLOCKS + SETTLED:
            return True
        return sum(len(self._known.get(name, ())) for name in self._open) >= OPEN_LOGS

    def span(self) -> tuple[int, Block] | None:
        """First number and last block of what may be checked now."""
        blocks = sorted(self._blocks.values(), key=lambda block: block.number)[:-SETTLED]
        found = [block for block in blocks if block.hash in self._open]
        return (found[0].number, found[-1]) if found else None

    def block_of(self, log: Json) -> Block | None:
        """The block of a log that was not announced, None where the log is known or the block was read otherwise."""
        name = str(log.get("blockHash")).lower()
        return None if log_id(log) in self._known.get(name, ()) else self._blocks.get(name)

    def settle(self, end: int) -> None:
        """Everything up to this number was checked, or was read anew."""
        self._keep({name: block for name, block in self._blocks.items() if block.number > end})

    def forget_above(self, number: int) -> None:
        """Blocks above this one were undone."""
        self._keep({name: block for name, block in self._blocks.items() if block.number <= number})

    def __len__(self) -> int:
        """Blocks and logs that are remembered."""
        return len(self._blocks) + sum(map(len, self._known.values()))

    def _forget_settled(self) -> None:
        spare = list(self._blocks)[:-_REMEMBERED]
        if any(name not in self._open for name in spare):
            old = set(spare) - self._open
            self._keep({name: block for name, block in self._blocks.items() if name not in old})

    def _keep(self, blocks: dict[str, Block]) -> None:
        self._blocks = blocks
        self._known = {name: logs for name, logs in self._known.items() if name in blocks}
        self._open &= blocks.keys()
