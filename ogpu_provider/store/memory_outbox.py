"""The outbox's twin for tests: same promises, same errors, nothing on disk."""

from collections.abc import Collection
from dataclasses import replace

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.intent import Effect, GasUsed, Intent, IntentRow, IntentState, SignedTx
from ogpu_provider.domain.units import Address, Hash, Wei
from ogpu_provider.store import moves


class MemoryOutbox:
    """Implements the sender's `Outbox`."""

    def __init__(self) -> None:
        self._cursor: tuple[int, Hash] | None = None
        self._intents: dict[str, IntentRow] = {}
        self._signed: dict[Hash, SignedTx] = {}

    async def cursor(self) -> tuple[int, Hash] | None:
        return self._cursor

    async def intent(self, key: str) -> IntentRow | None:
        return self._intents.get(key)

    async def intents_of(self, subject: Address) -> list[IntentRow]:
        return [row for row in self._intents.values() if row.intent.subject == subject]

    async def plan(self, intent: Intent, *, at: float) -> bool:
        if intent.key in self._intents:
            return False
        self._intents[intent.key] = IntentRow(intent, IntentState.PLANNED, planned_at=at, updated_at=at)
        return True

    async def open_intents(self) -> list[IntentRow]:
        return [row for row in self._intents.values() if row.state.open]

    async def planned_intents(self) -> list[IntentRow]:
        return [row for row in self._intents.values() if row.state is IntentState.PLANNED]

    async def signed(self, key: str) -> list[SignedTx]:
        return [tx for tx in self._signed.values() if tx.intent_key == key]

    async def put_signed(self, *txs: SignedTx) -> None:
        before = dict(self._intents), dict(self._signed)
        try:
            for tx in txs:
                self._put_signed(tx)
        except StoreError:
            self._intents, self._signed = before
            raise

    def _put_signed(self, tx: SignedTx) -> None:
        row = self._intent(tx.intent_key)
        other = next((t for t in self._signed.values() if t.nonce == tx.nonce and t.intent_key != tx.intent_key), None)
        if other is not None:
            raise StoreError(f"nonce {tx.nonce} carries {other.intent_key}", code="store.nonce_taken")
        moved = moves.move(row, IntentState.SIGNED, at=tx.signed_at, tx_hash=tx.hash)
        self._signed.setdefault(tx.hash, tx)
        self._intents[tx.intent_key] = replace(moved, nonce=tx.nonce)

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
        moved = moves.move(
            self._intent(key),
            state,
            at=at,
            tx_hash=tx_hash,
            block_number=block_number,
            block_hash=block_hash,
            gas_used=gas_used,
            fee_paid=fee_paid,
        )
        self._intents[key] = moved
        return moved

    async def highest_nonce(self) -> int | None:
        return max((tx.nonce for tx in self._signed.values()), default=None)

    async def signed_at(self, nonce: int) -> list[SignedTx]:
        return [tx for tx in self._signed.values() if tx.nonce == nonce]

    async def paid_since(self, at: float) -> list[tuple[float, Wei]]:
        minutes: dict[int, tuple[float, Wei]] = {}
        for row, used, tx in self._paid():
            if row.updated_at >= at:
                before = minutes.get(int(row.updated_at // 60), (0.0, 0))[1]
                fee = used * tx.max_fee if row.fee_paid is None else row.fee_paid
                minutes[int(row.updated_at // 60)] = row.updated_at, before + fee
        return list(minutes.values())

    async def gas_used(self, last: int) -> list[GasUsed]:
        alike: dict[tuple[Effect, int, bool], list[int]] = {}
        for row, used, tx in self._paid()[-last:]:
            if not tx.void:
                alike.setdefault((row.intent.effect, tx.gas, row.state is IntentState.CONFIRMED), []).append(used)
        return [GasUsed(*kind, max(used), len(used)) for kind, used in sorted(alike.items())]

    def _paid(self) -> list[tuple[IntentRow, int, SignedTx]]:
        found = [
            (row, row.gas_used, self._signed[row.tx_hash])
            for row in self._intents.values()
            if not row.state.open and row.gas_used is not None and row.tx_hash in self._signed
        ]
        return sorted(found, key=lambda one: one[0].updated_at)

    async def intent_of(self, tx_hash: Hash) -> IntentRow | None:
        tx = self._signed.get(tx_hash)
        return None if tx is None else self._intents[tx.intent_key]

    async def intents_among(self, hashes: Collection[Hash]) -> dict[Hash, IntentRow]:
        return {one: self._intents[self._signed[one].intent_key] for one in hashes if one in self._signed}

    def _intent(self, key: str) -> IntentRow:
        row = self._intents.get(key)
        if row is None:
            raise StoreError(f"no intent {key}", code="store.no_intent")
        return row
