"""What the sender asks of the journal. The store implements it in the same database as the tasks, so that a
task's transition and the transaction that it plans commit together."""

from typing import Protocol

from ogpu_provider.domain.intent import GasUsed, Intent, IntentRow, IntentState, SignedTx
from ogpu_provider.domain.units import Hash, Wei


class Outbox(Protocol):
    """Each method is one transaction, durable when it returns."""

    async def open_intents(self) -> list[IntentRow]:
        """Intents whose state is `open`, in the order in which they were planned."""
        ...

    async def planned_intents(self) -> list[IntentRow]:
        """Those of them that wait for their signature."""
        ...

    async def signed(self, key: str) -> list[SignedTx]:
        """Every transaction ever signed for an intent, oldest first."""
        ...

    async def put_signed(self, *txs: SignedTx) -> None:
        """Keep the raw bytes and move their intents to SIGNED, all or none. Returns before anything may be sent."""
        ...

    async def set_state(
        self,
        key: str,
        state: IntentState,
        *,
        at: float,
        tx_hash: Hash | None = None,
        block_number: int | None = None,
        block_hash: Hash | None = None,
        gas_used: int | None = None,
        fee_paid: Wei | None = None,
    ) -> IntentRow:
        """Move an intent; None leaves a column as it is, except that moving backwards clears the block.

        A closed intent that was in a block may go back to SENT: its block was undone.
        """
        ...

    async def highest_nonce(self) -> int | None:
        """The highest nonce ever signed, None on a new journal."""
        ...

    async def signed_at(self, nonce: int) -> list[SignedTx]:
        """What was ever signed with a nonce, oldest first: all of one intent."""
        ...

    async def paid_since(self, at: float) -> list[tuple[float, Wei]]:
        """What transactions of intents closed at or after `at` (unix seconds) have cost, at most an entry a minute;
        oldest first. Where a node did not say the price, the most that it may have been."""
        ...

    async def gas_used(self, last: int) -> list[GasUsed]:
        """What the transactions of the `last` intents used that were closed with a receipt; voids apart."""
        ...

    async def intent(self, key: str) -> IntentRow | None: ...

    async def plan(self, intent: Intent, *, at: float) -> bool:
        """Add an intent; False if its key is there already."""
        ...

    async def intent_of(self, tx_hash: Hash) -> IntentRow | None:
        """Whose transaction this is, among all that were ever signed."""
        ...
