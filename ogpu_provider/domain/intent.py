"""Transactions that we mean to send, and the signed bytes that carry them.

    PLANNED ──sign──▶ SIGNED ──send──▶ SENT ──in a block──▶ MINED ──at depth──▶ CONFIRMED
       │                 ▲               │ ▲                  │  ├── status 0 ──▶ REVERTED
       │                 └── dearer or ──┘ └── block undone ──┘  └── a void ────▶ ABANDONED
       │                     void bytes            ▲
       │                                           └── block undone ── CONFIRMED, REVERTED, ABANDONED (by a void)
       ├── effect found on chain by another path ─▶ CONFIRMED
       └── deadline passed, or refused by the signer ─▶ ABANDONED

The intent is committed with the task's transition, the signed bytes before the first send; a restart sends the
same bytes again. One nonce carries one intent for ever. Where its bytes must not be sent any more (the deadline
passed, or the effect is there already) its nonce is used up by a void: a transaction of nothing to ourselves.
A log may show that a transaction is in a block before its send was answered, so SIGNED may go to MINED at once.
"""

from dataclasses import dataclass
from enum import StrEnum

from ogpu_provider.domain.units import Address, Hash, Wei


class Effect(StrEnum):
    """What a transaction of ours does; the names are the protocol's. The last three are the gateway's, as a client;
    all others are the provider's."""

    REGISTER = "register"
    UNREGISTER = "unregister"
    ATTEMPT = "attempt"
    SUBMIT_RESPONSE = "submitResponse"
    ANNOUNCE_MASTER = "announceMaster"
    SET_BASE_DATA = "setBaseData"
    SET_LIVE_DATA = "setLiveData"
    FILL = "fill"
    """Not of the protocol: nothing to ourselves, for a nonce that nothing of ours can use."""
    DEPOSIT = "deposit"  # this and the ones below: the Vault's, only after the operator confirmed the amount
    LOCK = "lock"
    UNBOND = "unbond"
    CANCEL_UNBONDING = "cancelUnbonding"
    CLAIM = "claim"
    WITHDRAW = "withdraw"
    PUBLISH_TASK = "publishTask"
    CANCEL_TASK = "cancelTask"
    CONFIRM_RESPONSE = "confirmResponse"


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
    """One effect on chain. `key` is unique for (chain, effect, subject), and numbered where it was closed without its
    effect and is planned again: the same effect is never planned twice at a time.

    `subject` is the task, source or account concerned. `deadline` (unix seconds): not sent for the first time after
    it. `value` in wei; only a deposit of the operator moves any.
    """

    key: str
    effect: Effect
    subject: Address
    to: Address
    data: bytes
    deadline: float | None = None
    value: Wei = 0


@dataclass(frozen=True, slots=True)
class SignedTx:
    """Raw bytes of one signed transaction for an intent. Fees in wei per gas; `tip_fee` is None for legacy.

    `void`: it uses the intent's nonce up and does nothing.
    """

    hash: Hash
    intent_key: str
    nonce: int
    raw: bytes
    gas: int
    max_fee: Wei
    tip_fee: Wei | None
    signed_at: float
    void: bool = False


@dataclass(frozen=True, slots=True)
class GasUsed:
    """`times` closed transactions for `effect` that were allowed `limit` gas, and worked or did not.

    `most`: the most gas that one of them used.
    """

    effect: Effect
    limit: int
    succeeded: bool
    most: int
    times: int


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
