"""The invariants as checks on a world in memory; each gives a line for whatever breaks it.

    I1   one attempt and one response a task             contracts     `_once`
    I2   attempts only after the gate, with a slot,      journal       `_admitted`
         for the price and in time
    I3   a response links to the stored bytes            journal       `_linked`
    I4   a nonce carries one intent                      nodes         `_one_intent_a_nonce`
    I5   fees and the day's costs within their caps      nodes         `_within_caps`
    I6   a project for each served source, no other      engine        `_served`
    I7   no device in two projects                       engine        `_disjoint`
    I8   only projects of ours are stopped               engine        `_only_ours`
    I9   tasks and intents move along drawn edges        journal       `_drawn`
    I10  what nodes hold was planned and stored before   nodes         `_planned_before`
    I11  no secret in any output                         (below)
    I12  every task that was told of has its row, once   journal       `_none_missed`

Blocks whose logs are lost are no part of what was told: their tasks are found in contract state, which the state
machine asserts itself when it is calm.

Nothing here holds a key, so I11 has its own tests: tests/security/test_key_canary.py, and the auditor's check in the
crash tests (tests/auditor), which looks for all of these from outside, beside a real chain and real containers.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ogpu_provider.chain.fees import DAY
from ogpu_provider.domain.facts import Block, Fact, TaskPublished
from ogpu_provider.domain.intent import Effect, IntentRow, IntentState, SignedTx
from ogpu_provider.domain.source import SourceState
from ogpu_provider.domain.task import EDGES, HOLDING, JournalLine, Task, TaskState
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.store.memory import MemoryStore
from tests.crash.inmemory import Whole
from tests.fakes.mempool import GWEI, PoolTx

I = IntentState  # noqa: E741  as the diagram has them
DRAWN = {
    I.PLANNED: {I.SIGNED, I.CONFIRMED, I.ABANDONED},
    I.SIGNED: {I.SIGNED, I.SENT, I.MINED, I.CONFIRMED, I.REVERTED, I.ABANDONED},
    I.SENT: {I.SIGNED, I.SENT, I.MINED, I.CONFIRMED, I.REVERTED, I.ABANDONED},
    I.MINED: {I.SENT, I.MINED, I.CONFIRMED, I.REVERTED, I.ABANDONED},
    I.CONFIRMED: {I.SENT},
    I.REVERTED: {I.SENT},
    I.ABANDONED: {I.SENT},
}
"""domain/intent.py's diagram. A block may be deep enough when it is first heard of, so MINED may be passed over."""


class MovesKept(MemoryStore):
    """Remembers between which states intents were moved."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: set[tuple[IntentState, IntentState]] = set()

    async def put_signed(self, *txs: SignedTx) -> None:
        before = [await self.intent(tx.intent_key) for tx in txs]
        await super().put_signed(*txs)
        self.moves |= {(row.state, I.SIGNED) for row in before if row is not None}

    async def set_state(self, key: str, state: IntentState, **more: Any) -> IntentRow:
        before = await self.intent(key)
        moved = await super().set_state(key, state, **more)
        assert before is not None
        self.moves.add((before.state, state))
        return moved


@dataclass
class Seen:
    """What the checks look at, read once. `rows` and `lines` by task; `sent`: what nodes hold or held in a block."""

    whole: Whole
    told: Sequence[Fact]
    rows: dict[Address, Task] = field(default_factory=dict)
    lines: dict[Address, list[JournalLine]] = field(default_factory=dict)
    results: dict[Address, bytes] = field(default_factory=dict)
    intents: dict[str, IntentRow] = field(default_factory=dict)
    signed: dict[str, list[SignedTx]] = field(default_factory=dict)
    sources: dict[Address, SourceState] = field(default_factory=dict)

    @property
    def mined(self) -> list[PoolTx]:
        return [tx for block in self.whole.node.mined for tx in block]

    @property
    def sent(self) -> list[PoolTx]:
        return [*self.mined, *self.whole.node.pool.values()]


async def look(whole: Whole, history: Iterable[tuple[Block, Sequence[Fact]]]) -> Seen:
    journal = whole.outside.journal
    seen = Seen(whole, [fact for _, facts in history for fact in facts])
    for row in await journal.tasks(limit=10**6):
        seen.rows[row.address] = row
        seen.lines[row.address] = await journal.history(row.address)
        if body := await journal.result(row.address):
            seen.results[row.address] = body
    for key in {tx.intent_key for tx in seen.sent}:
        if intent := await journal.intent(key):
            seen.intents[key] = intent
            seen.signed[key] = await journal.signed(key)
    seen.sources = {source.address: source.state for source in await journal.sources()}
    return seen


def broken(seen: Seen) -> dict[str, list[str]]:
    """What breaks each invariant; those that hold are left out."""
    found = {name: list(check(seen)) for name, check in CHECKS.items()}
    return {name: lines for name, lines in found.items() if lines}


def _once(seen: Seen) -> Iterator[str]:
    for what, counted in (("attempts", seen.whole.attempts), ("responses", seen.whole.responses)):
        yield from (f"{number} {what} of {task}" for task, number in counted.items() if number > 1)


def _admitted(seen: Seen) -> Iterator[str]:
    policy = seen.whole.admission
    assert policy is not None
    held = sum(row.slots for row in seen.rows.values() if row.state in HOLDING)
    if seen.whole.host and held > seen.whole.host.cpu_slots:
        yield f"{held} slots are held"
    for tx in _of(seen, Effect.ATTEMPT):
        row, intent = seen.rows.get(tx.subject), seen.intents[tx.intent_key].intent
        admitted = [line for line in seen.lines.get(tx.subject, ()) if line.after is TaskState.ADMITTED]
        if row is None or not admitted:
            yield f"{tx.subject} was attempted and not admitted"
            continue
        if row.source not in seen.whole.outside.runtime.started:
            yield f"{tx.subject} was attempted, and no project of its source ever passed the gate"
        if row.payment < policy.min_payment:
            yield f"{tx.subject} pays too little"
        if row.expiry - admitted[-1].at < policy.min_time_left:
            yield f"{tx.subject} was admitted too late"
        first = seen.signed[tx.intent_key][0]
        if intent.deadline is None or first.signed_at > intent.deadline or intent.deadline > row.expiry:
            yield f"{tx.subject} was signed too late"


def _linked(seen: Seen) -> Iterator[str]:
    for tx in _of(seen, Effect.SUBMIT_RESPONSE):
        body = seen.results.get(tx.subject)
        if body is None:
            yield f"{tx.subject} was answered without a stored result"
            continue
        cid = seen.whole.outside.content.cid(body)
        if seen.rows[tx.subject].cid != cid or cid.encode() not in seen.intents[tx.intent_key].intent.data:
            yield f"{tx.subject} links to other bytes"


def _one_intent_a_nonce(seen: Seen) -> Iterator[str]:
    carried: dict[int, set[str]] = {}
    for tx in seen.sent:
        carried.setdefault(tx.nonce, set()).add(tx.intent_key)
    yield from (f"nonce {nonce}: {keys}" for nonce, keys in carried.items() if len(keys) > 1)
    twice = Counter(tx.intent_key for tx in seen.mined)
    yield from (f"{key} is in {number} blocks" for key, number in twice.items() if number > 1)


def _within_caps(seen: Seen) -> Iterator[str]:
    yield from (f"{tx.hash} pays {tx.max_fee}" for tx in seen.sent if tx.max_fee > CAP)
    paid = 0
    for block, txs in zip(seen.whole.node.blocks, seen.whole.node.mined, strict=True):
        if block.timestamp > seen.whole.outside.clock.now() - DAY:
            receipts = [seen.whole.node.receipts[tx.hash] for tx in txs]
            paid += sum(int(one["gasUsed"], 16) * int(one["effectiveGasPrice"], 16) for one in receipts)
    may = paid + sum(tx.gas * tx.max_fee for tx in seen.whole.node.pool.values())
    if seen.whole.budget is not None and may > seen.whole.budget:
        yield f"{may} wei within a day"


def _served(seen: Seen) -> Iterator[str]:
    for source in seen.whole.outside.runtime.running:
        if source not in seen.sources:
            yield f"a project of {source}, of which the journal does not know"


def served_again(seen: Seen) -> Iterator[str]:
    """The reverse of I6, when the world has calmed down."""
    for source, state in seen.sources.items():
        if state is SourceState.READY and source not in seen.whole.outside.runtime.running:
            yield f"{source} is ready without a project"


def _disjoint(seen: Seen) -> Iterator[str]:
    used = Counter(device.id for spec in seen.whole.outside.runtime.running.values() for device in spec.devices)
    yield from (f"{device} is in {number} projects" for device, number in used.items() if number > 1)


def _only_ours(seen: Seen) -> Iterator[str]:
    yield from (f"{source} was stopped" for source in seen.whole.outside.runtime.stopped if source not in seen.sources)


def _drawn(seen: Seen) -> Iterator[str]:
    for task, lines in seen.lines.items():
        states = [line.after for line in lines]
        if states[0] is not TaskState.SEEN or [line.before for line in lines] != [None, *states[:-1]]:
            yield f"{task}: {states}"
        for line in lines:
            if line.before is not None and line.after not in EDGES[line.before]:
                yield f"{task}: {line.before} to {line.after}"
    journal = seen.whole.outside.journal
    assert isinstance(journal, MovesKept)
    yield from (f"intent: {before} to {after}" for before, after in journal.moves if after not in DRAWN[before])


def _planned_before(seen: Seen) -> Iterator[str]:
    for tx in seen.sent:
        intent, stored = seen.intents.get(tx.intent_key), seen.signed.get(tx.intent_key, [])
        this = next((one for one in stored if one.hash == tx.hash), None)
        if intent is None or this is None:
            yield f"{tx.hash} is at the nodes, and not stored"
            continue
        lines = seen.lines.get(tx.subject, [])
        if not intent.planned_at <= this.signed_at or (lines and lines[0].at > intent.planned_at):
            yield f"{tx.hash} is older than what it is for"
        if intent.state is I.PLANNED:
            yield f"{tx.hash} is at the nodes, and its intent is only planned"


def _none_missed(seen: Seen) -> Iterator[str]:
    told = {fact.task for fact in seen.told if isinstance(fact, TaskPublished) and fact.source in seen.sources}
    ours = {task for task, row in seen.rows.items() if row.source in seen.sources}
    yield from (f"{task} has no row" for task in told - ours)
    yield from (f"{task} was never told of" for task in ours - set(seen.whole.tasks))


def _of(seen: Seen, effect: Effect) -> Iterator[PoolTx]:
    return (tx for tx in seen.sent if not tx.void and f":{effect}:" in tx.intent_key)


CAP: Wei = 100 * GWEI
CHECKS = {
    "I1": _once,
    "I2": _admitted,
    "I3": _linked,
    "I4": _one_intent_a_nonce,
    "I5": _within_caps,
    "I6": _served,
    "I7": _disjoint,
    "I8": _only_ours,
    "I9": _drawn,
    "I10": _planned_before,
    "I12": _none_missed,
}
