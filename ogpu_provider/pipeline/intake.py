"""Where chain facts enter the path.

The block's new tasks come first, then its effects on rows, and the cursor last: a crash in between re-reads the
block, and all of it may happen twice.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

import structlog

from ogpu_provider.domain import facts
from ogpu_provider.domain.errors import RpcRejected
from ogpu_provider.domain.facts import Block, Fact, TaskStatus, TaskView
from ogpu_provider.domain.intent import Effect, IntentRow
from ogpu_provider.domain.killpoints import reach
from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.announcements import Announcements
from ogpu_provider.pipeline.concerns import serves
from ogpu_provider.pipeline.conductor import Conductor, Outcome
from ogpu_provider.pipeline.effects import Effects
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.promises import Promises, oblige
from ogpu_provider.pipeline.recovery import owed
from ogpu_provider.pipeline.reversal import DISPROVED, UNDONE, again, reopened, undone, withdrawn
from ogpu_provider.pipeline.sources import SourceKeeper

log = structlog.get_logger()

NEWS_S = 15.0
"""A block younger than this is news; an older one is read while catching up, and its tasks may be over by now."""

REMEMBERED = 4096
"""Responses of ours whose blocks are known, at most: the newest."""

_EARLY = frozenset(TaskState) - {s for s in TaskState if s.over} - {TaskState.SUBMITTED, TaskState.RESPONDED}


class Intake:
    def __init__(self, ports: Ports, conductor: Conductor, keeper: SourceKeeper) -> None:
        self._ports = ports
        self._conductor = conductor
        self._keeper = keeper
        self.promises = Promises(ports, conductor.apply)
        self._announcements = Announcements(ports, self.promises, keeper)
        self._acted_on: deque[Fact] = deque(maxlen=256)
        self._answered: dict[Address, int] = {}

    async def deliver(self, block: Block, block_facts: Sequence[Fact]) -> None:
        """Take in one block: new tasks first, because somebody else may want them too; then what it says of
        transactions of ours and of older tasks; the cursor last.

        Idempotent: the same block may be delivered again.
        """
        self._ports.head.block = block
        await self._take_up(
            self._seen(fact.task, fact.source, block)
            for fact in block_facts
            if isinstance(fact, facts.TaskPublished) and serves(self._ports.book, fact.source)
        )
        await self._ports.sender.observe(block, block_facts)
        effects, owed = Effects(), list[Task]()
        ours = await self._ours(block_facts)
        for fact in block_facts:
            mine = ours.get(fact.origin.tx_hash)
            match fact:
                case facts.Attempted(provider=provider) if provider == self._ports.chain.provider:
                    if mine is None:
                        owed += await self._attempted(fact, block, effects)
                case facts.TaskStatusChanged() if fact.status.over:
                    effects.on(fact.task, partial(self._status, fact=fact, ours=mine))
                case facts.ResponseSubmitted():
                    if mine is not None and mine.intent.effect is Effect.SUBMIT_RESPONSE:
                        self._remember_answer(fact.task, block.number)
                        effects.on(fact.task, partial(_response, response=fact.response))
                case _:
                    pass
            self._announcements.take(fact)
        await effects.act(self._conductor)
        await self._take_up(owed, block)
        self._conductor.nudge_settling()
        await self.promises.renew(block)

    async def _take_up(self, rows: Iterable[Task], cursor: Block | None = None) -> None:
        """Tasks of this moment are looked at while their rows are on the way to the disk, and go ahead of the rest."""
        found = {row.address: row for row in rows}
        if not found and cursor is None:
            return
        if found:
            reach("task.seen.unsaved")
        early = {row.address for row in found.values() if row.boot and self._conductor.start(row, stored=False)}
        try:
            new = await self._ports.journal.insert(list(found.values()), cursor)
            if new:
                reach("task.seen.saved")
            for task in new:
                if task.address in early:
                    early.discard(task.address)
                    self._conductor.keep(task.address)
        finally:
            for address in early:
                self._conductor.drop(address)
        if len(new) < len(found):
            await self._published_again(found, frozenset({UNDONE}))
        for task in new:
            log.info("task_seen", task=task.address, source=task.source, block=task.seen_block)
            self._conductor.start(task)
        await self._conductor.first_steps(task.address for task in new if task.boot)

    async def _ours(self, block_facts: Sequence[Fact]) -> dict[Hash, IntentRow]:
        """Our transactions among those whose logs do not say whose they are."""
        asked = {
            fact.origin.tx_hash
            for fact in block_facts
            if isinstance(fact, facts.ResponseSubmitted)
            or (isinstance(fact, facts.TaskStatusChanged) and fact.status is TaskStatus.FINALIZED)
            or (isinstance(fact, facts.Attempted) and fact.provider == self._ports.chain.provider)
        }
        return await self._ports.journal.intents_among(asked) if asked else {}

    async def adopt(self, view: TaskView) -> None:
        """Take up an open task found by reading contract state, not by its log. One past its expiry is left."""
        head, now = self._ports.head, self._ports.clock.now()
        number = head.block.number if head.block else 0
        row = Task(view.address, view.source, TaskState.SEEN, number, now, obliged=view.attempted_by_us)
        if owed(view, head.now(self._ports.clock)):
            for task in await self._ports.journal.insert([row]):
                log.info("task_adopted", task=task.address, source=task.source, obliged=task.obliged)
                self._conductor.start(task)
                return
            await self._published_again([row.address], frozenset({UNDONE, DISPROVED}))

    async def undo(self, ancestor: Block) -> None:
        """Every block above `ancestor` is no longer one of the chain. Its facts, if they are, come anew."""
        head, self._ports.head.block = self._ports.head.block, ancestor
        for task in await self._ports.journal.touched_above(ancestor.number):
            intents = await self._ports.journal.intents_of(task.address)
            answered = self._answered.get(task.address)
            decide = partial(undone, intents=intents, above=ancestor.number, answered=answered)
            await self._conductor.apply(task.address, decide)
        await self._announcements.undo(ancestor, head)

    def _remember_answer(self, task: Address, block: int) -> None:
        """The journal's word is not enough: the sender may take it back before the path hears of the same undoing."""
        self._answered.pop(task, None)
        self._answered[task] = block
        if len(self._answered) > REMEMBERED:
            del self._answered[next(iter(self._answered))]

    async def disprove(self, block: Block, denied: Sequence[Fact]) -> None:
        """Another endpoint has the block without these logs: nothing more is spent on their word."""
        for fact in denied:
            match fact:
                case facts.TaskPublished():
                    text = f"a second endpoint does not know of it in block {block.number}"
                    await self._conductor.apply(fact.task, partial(withdrawn, code=DISPROVED, text=text))
                case facts.TaskStatusChanged():
                    await self._undo_status(fact.task, block.number)
                case _:
                    pass

    def costs(self, fact: Fact) -> bool:
        """Whether we spend something on a fact's word, or leave off work that we are paid for."""
        match fact:
            case facts.TaskPublished():
                return serves(self._ports.book, fact.source)
            case facts.Attempted():
                return fact.provider == self._ports.chain.provider
            case facts.TaskStatusChanged():
                return fact in self._acted_on
        return False

    async def _undo_status(self, address: Address, block: int) -> None:
        intents = await self._ports.journal.intents_of(address)

        def decide(task: Task) -> Transition | Mapping[str, object] | None:
            if task.finalized_block != block:
                return None
            return reopened(task, intents) if task.state.over else {"finalized_block": None}

        await self._conductor.apply(address, decide)

    async def _published_again(self, addresses: Iterable[Address], codes: Collection[str]) -> None:
        def decide(task: Task) -> Transition | None:
            return again(task) if task.state is TaskState.DECLINED and task.code in codes else None

        for address in addresses:
            await self._conductor.apply(address, decide)

    def _seen(self, task: Address, source: Address, block: Block, obliged: bool = False) -> Task:
        """A row to be. Without our boot's name on it, the stage reads what has become of the task since its block."""
        now = self._ports.clock.now()
        boot = self._ports.boot if now - block.timestamp < NEWS_S else ""
        return Task(task, source, TaskState.SEEN, block.number, now, boot=boot, obliged=obliged)

    async def _attempted(self, fact: facts.Attempted, block: Block, effects: Effects) -> list[Task]:
        """The master's or an agent's attempt on our behalf: work that we owe without having decided."""
        if await self._conductor.row(fact.task) is not None:
            effects.on(fact.task, oblige)
            return []
        try:
            view = await self._ports.chain.standing(fact.task)
        except RpcRejected as error:  # a log about what is no task must not stop the reading of logs
            log.error("attempt_of_no_task", task=fact.task, tx=fact.origin.tx_hash, error=str(error))
            return []
        return [self._seen(fact.task, view.source, block, obliged=True)]

    def _status(self, task: Task, *, fact: facts.TaskStatusChanged, ours: IntentRow | None) -> Outcome:
        """A task has ended on chain. `ours`: the transaction that did it, if it is one of ours."""
        if task.state.over:
            return None
        block = fact.origin.block_number
        paid = fact.status is TaskStatus.FINALIZED and ours is not None
        if not paid:
            self._acted_on.append(fact)
        if fact.status is TaskStatus.CANCELED:
            return _ended(TaskState.CANCELED, "chain.canceled", "the client canceled the task", block)
        if fact.status is TaskStatus.EXPIRED:
            return _ended(TaskState.EXPIRED, "chain.expired", "the task expired on chain", block)
        if task.state in _EARLY and not paid:
            return _ended(TaskState.LOST, "lost.other_won", "another provider's response was first", block)
        return {"finalized_block": block} if task.finalized_block is None else None


def _response(task: Task, *, response: Address) -> Outcome:
    return {"response": response} if task.response != response else None


def _ended(state: TaskState, code: str, text: str, block: int) -> Transition:
    """`block` is kept: should it be undone, so is the end."""
    return Transition(state, {"finalized_block": block}, (Reason(code, text),))
