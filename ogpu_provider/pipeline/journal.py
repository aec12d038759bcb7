"""What the path asks of its journal. The store implements it.

Every method may raise StoreError; what a caller may do about one is in its `retry`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ogpu_provider.domain.approval import Approval
from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Intent, IntentRow, SignedTx
from ogpu_provider.domain.learnt import Learnt
from ogpu_provider.domain.source import ServedSource
from ogpu_provider.domain.task import JournalLine, ResultOutcome, Task, Transition
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.domain.wish import Wish


class Journal(Protocol):
    """What we intended and what came of it. Each method is one transaction, durable when it returns."""

    async def insert(self, tasks: Sequence[Task], cursor: Block | None = None) -> list[Task]:
        """Add rows that do not exist yet and move the block cursor; return the rows that were new."""
        ...

    async def cursor(self) -> tuple[int, Hash] | None:
        """Number and hash of the last block whose facts are all in the journal."""
        ...

    async def task(self, address: Address) -> Task | None: ...

    async def live(self) -> list[Task]:
        """Every row that is not over, oldest first."""
        ...

    async def touched_above(self, block: int) -> list[Task]:
        """Rows seen in, or paid or ended by, a block above this number; and all that wait to be paid."""
        ...

    async def save(self, task: Task, *steps: Transition, at: float, boot: str, signed: Sequence[SignedTx] = ()) -> Task:
        """Apply transitions, one after another: row, a journal line each, intents (if new) and their `signed` bytes,
        in one transaction.

        Raises StaleRow if `task.version` is not the stored one, StoreError for an edge not in `EDGES`, KnownIntent
        where an intent with signed bytes is not new.
        """
        ...

    async def amend(self, task: Task, changes: Mapping[str, object], *, at: float) -> Task:
        """Change fields of a row without a step along the path. Raises StaleRow like `save`."""
        ...

    async def history(self, task: Address) -> list[JournalLine]: ...

    async def put_result(self, task: Address, body: bytes, *, at: float) -> ResultOutcome:
        """Keep a result: STORED if it is the first, SAME for equal bytes, else CONFLICT."""
        ...

    async def result(self, task: Address) -> bytes | None: ...

    async def longest_run(self, source: Address, function: str) -> float | None:
        """Seconds from a container's word that it took a call to its result: the most of late, None if never seen."""
        ...

    async def intent(self, key: str) -> IntentRow | None: ...

    async def intents_of(self, subject: Address) -> list[IntentRow]:
        """What we meant to do about a task or source, in the order in which it was planned."""
        ...

    async def intent_of(self, tx_hash: Hash) -> IntentRow | None:
        """Whose transaction this is, among all that we ever signed."""
        ...

    async def intents_among(self, hashes: Collection[Hash]) -> dict[Hash, IntentRow]:
        """The same for several at once; no key for transactions that are not ours."""
        ...

    async def plan(self, intent: Intent, *, at: float) -> bool:
        """Add an intent outside the path of a task (register, announce); False if its key is there already."""
        ...

    async def sources(self) -> list[ServedSource]: ...

    async def save_source(self, source: ServedSource) -> None: ...

    async def open_intents(self) -> list[IntentRow]:
        """Transactions of ours that are not done with."""
        ...

    async def wishes(self) -> list[Wish]:
        """What the operator asked for at run time, oldest first."""
        ...

    async def wish(self, wish: Wish) -> None:
        """Keep a wish, in place of the last one about its subject."""
        ...

    async def unwish(self, subject: str) -> None: ...

    async def approval(self, source: Address) -> Approval | None:
        """The compose file of a source that may run."""
        ...

    async def approve(self, approval: Approval) -> None:
        """Keep an approval, in place of the last one of its source."""
        ...

    async def learnt(self) -> list[Learnt]:
        """Everything that was measured on this host."""
        ...

    async def keep_learnt(self, facts: Sequence[Learnt]) -> None:
        """Keep facts, each in place of what was known of its key; one without samples is forgotten."""
        ...

    async def cordons(self, *, lifted: bool = False) -> list[Cordon]:
        """Cards that are out of use for their health, oldest first; `lifted`: those that were before, too."""
        ...

    async def cordon(self, cordon: Cordon) -> None:
        """Keep a cordon; no change for a card that has one."""
        ...

    async def uncordon(self, card: str, *, at: float, by: str) -> None: ...
