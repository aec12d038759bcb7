"""Transactions that we mean to send, and the signed bytes that carry them.

    PLANNED ──sign──▶ SIGNED ──send──▶ SENT ──in a block──▶ MINED ──at depth──▶ CONFIRMED
       │                 ▲               ▲                    │  │
       │                 └───────────────┴── block undone ────┘  └──status 0──▶ REVERTED
       ├── effect found on chain by another path ─▶ CONFIRMED
       └── deadline passed before the first send ─▶ ABANDONED

The intent is committed with the task's transition, the signed bytes before the first send; a restart sends the
same bytes again.
"""

from dataclasses import dataclass
from enum import StrEnum

from ogpu_provider.domain.units import Address, Hash, Wei


class Effect(StrEnum):
    """What a transaction of the provider key does; the names are the protocol's."""

    REGISTER = "register"
    UNREGISTER = "unregister"
    ATTEMPT = "attempt"
    SUBMIT_RESPONSE = "submitResponse"
    ANNOUNCE_MASTER = "announceMaster"
    SET_BASE_DATA = "setBaseData"
    SET_LIVE_DATA = "setLiveData"


class IntentState(StrEnum):
    PLANNED = "planned"
    SIGNED = "signed"
    SENT = "sent"
    MINED = "mined"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    ABANDONED = "abandoned"

    @property
    def open(self) -> bool:
        """Whether the sender still has something to do."""
        return self not in (IntentState.CONFIRMED, IntentState.REVERTED, IntentState.ABANDONED)


@dataclass(frozen=True, slots=True)
class Intent:
    """One effect on chain. `key` is unique for (chain, effect, subject): the same effect is never planned twice.

    `subject` is the task or source concerned. `deadline` (unix seconds): not sent for the first time after it.
    """

    key: str
    effect: Effect
    subject: Address
    to: Address
    data: bytes
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class SignedTx:
    """Raw bytes of one signed transaction for an intent. Fees in wei per gas; `tip_fee` is None for legacy."""

    hash: Hash
    intent_key: str
    nonce: int
    raw: bytes
    gas: int
    max_fee: Wei
    tip_fee: Wei | None
    signed_at: float


@dataclass(frozen=True, slots=True)
class IntentRow:
    """An intent as the journal has it; `nonce`, `tx_hash` and the block are those of its last signed transaction."""

    intent: Intent
    state: IntentState
    nonce: int | None = None
    tx_hash: Hash | None = None
    block_number: int | None = None
    block_hash: Hash | None = None
    gas_used: int | None = None
    fee_paid: Wei | None = None
    planned_at: float = 0.0
    updated_at: float = 0.0
