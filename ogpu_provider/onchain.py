"""The daemon's side to the chain: what reads it, what writes to it, and what doubts the one endpoint that says so."""

from collections.abc import Awaitable, Callable, Sequence

from ogpu_provider.chain.fees import DayBudget, FeeCaps
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.chain.sender import Sender
from ogpu_provider.chain.watcher import Watcher
from ogpu_provider.chain.witness import CrossCheck
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.facts import Attempted, Block, Fact
from ogpu_provider.domain.intent import Intent, IntentRow
from ogpu_provider.domain.units import Hash
from ogpu_provider.keys.signer import Signer
from ogpu_provider.pipeline.concerns import Concerns
from ogpu_provider.pipeline.path import TaskPath
from ogpu_provider.pipeline.ports import Head
from ogpu_provider.pipeline.presence import present
from ogpu_provider.settings import Settings
from ogpu_provider.store.sqlite import SqliteStore

Deliver = Callable[[Block, Sequence[Fact]], Awaitable[None]]


class OnChain:
    """`outcome` is told what became of each transaction. `join` before anything runs."""

    def __init__(
        self,
        settings: Settings,
        network: Network,
        rpc: RpcPool,
        signer: Signer,
        journal: SqliteStore,
        clock: Clock,
        outcome: Callable[[IntentRow], Awaitable[None]],
    ) -> None:
        self._network = network
        self._rpc = rpc
        self._clock = clock
        self._provider = signer.address
        self.head = Head()
        self.caps = FeeCaps(settings.fees.max_fee)
        self.reader = ChainReader(rpc, network, signer.address)
        self.sender = Sender(
            rpc,
            journal,
            signer,
            clock,
            self.head,
            outcome,
            confirmations=settings.network.confirmations,
            caps=self.caps,
            budget=DayBudget(settings.fees.day_budget),
            present=self._present,
        )

    def join(self, path: TaskPath, rival: Callable[[Attempted], None]) -> None:
        """`rival` hears of others' attempts at tasks that we follow."""
        intake = path.intake
        self._undo = intake.undo
        self._concerns = Concerns(
            self._provider, path.ports.book, path.conductor.follows, self.sender.carries, rival=rival
        )
        self.witness = CrossCheck(self._rpc, self._network, self._clock, intake.disprove, costs=intake.costs)

    def watcher(self, deliver: Deliver, cursor: tuple[int, Hash] | None) -> Watcher:
        """From the block after `cursor`, or from the head on."""
        return Watcher(
            self._rpc,
            self._network,
            deliver,
            self._clock,
            cursor,
            undo=self._undo,
            witness=self.witness if self._rpc.several else None,
            concerning=self._concerns.of,
        )

    async def _present(self, intent: Intent) -> bool:
        return await present(self.reader, intent)
