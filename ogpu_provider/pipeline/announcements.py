"""What the chain says of sources, of our pairing, and of promises that others made for us; and the way back.

A fact is remembered for as long as its block may be undone. Taking one back means to look again, because what the
chain says now is not known from what it no longer says. Of what the contracts do not keep (the master's wish that
containers go), the opposite is done.
"""

import structlog

from ogpu_provider.domain import facts
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.source import SourceState, SourceStatus
from ogpu_provider.domain.task import AT_WORK, Task, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.conductor import Conductor
from ogpu_provider.pipeline.patience import BEFORE_ATTEMPT
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.sources import SourceKeeper

log = structlog.get_logger()

_REMEMBERED = 1024


class Announcements:
    def __init__(self, ports: Ports, conductor: Conductor, keeper: SourceKeeper) -> None:
        self._ports = ports
        self._conductor = conductor
        self._keeper = keeper
        self._facts: dict[Fact, None] = {}
        self._unpromised: dict[Address, int] = {}

    def take(self, fact: Fact) -> None:
        """Act on a fact; one that is none of these, or not about us, is ignored."""
        us = self._ports.chain.provider
        match fact:
            case facts.Attempted(provider=provider) if provider == us:
                self._unpromised.pop(fact.task, None)
            case facts.Registered(provider=provider) if provider == us:
                self._keeper.want(fact.source)
            case facts.SourcePublished():
                self._keeper.published(fact.source)
            case facts.SourceUpdated():
                self._keeper.changed(fact.source)
            case facts.SourceStatusChanged(status=SourceStatus.INACTIVE):
                self._keeper.retire(fact.source)
            case facts.RemoveContainer(provider=provider) if provider == us:
                self._keeper.remove(fact.source)
            case facts.ProviderRemoved(provider=provider) if provider == us:
                log.error("provider_removed", remedy="pair again with the master; no task is taken until then")
                self._ports.book.paired = False
            case _:
                return
        self._facts[fact] = None
        if len(self._facts) > _REMEMBERED:
            del self._facts[next(iter(self._facts))]

    async def undo(self, ancestor: Block, head: Block | None) -> None:
        """Every block above `ancestor` is undone; `head` was the newest of them."""
        for fact in self._undone(ancestor.number):
            ours = await self._ports.journal.intent_of(fact.origin.tx_hash)
            if ours is None:  # what our own transaction did, the sender sees to
                await self._take_back(fact, head.number if head else ancestor.number)

    async def renew_promises(self, block: Block) -> None:
        """Attempt for ourselves what another had attempted for us, once the chain is as long as it was without it."""
        due = [task for task, number in self._unpromised.items() if block.number > number]
        for address in due:
            task, at = await self._ports.journal.task(address), self._ports.clock.now()
            try:
                if task is not None and task.state in AT_WORK and await self._is_unpromised(task):
                    intent = self._ports.chain.intent_attempt(address, task.asks, task.deadline)
                    if await self._ports.journal.plan(intent, at=at):
                        log.warning("promise_renewed", task=address)
                        self._ports.sender.wake()
            except ProviderError as error:  # the next block asks again
                log.warning("promise_unread", task=address, code=error.code, error=str(error))
            else:
                del self._unpromised[address]

    def _undone(self, above: int) -> list[Fact]:
        """The newest first; they are forgotten."""
        found = [fact for fact in self._facts if fact.origin.block_number > above]
        self._facts = {fact: None for fact in self._facts if fact not in found}
        return found[::-1]

    async def _take_back(self, fact: Fact, head: int) -> None:
        match fact:
            case facts.Attempted():
                await self._conductor.apply(fact.task, _unobliged)
                self._unpromised[fact.task] = head
            case facts.RemoveContainer():
                self._keeper.want(fact.source)
            case facts.SourceStatusChanged():
                row = self._ports.book.get(fact.source)
                if row is not None and row.state is SourceState.DROPPED and row.code == "source.inactive":
                    self._keeper.want(fact.source)
            case facts.Registered() | facts.SourcePublished() | facts.SourceUpdated():
                self._keeper.changed(fact.source)
            case facts.ProviderRemoved():
                self._ports.book.paired = True
            case _:
                pass

    async def _is_unpromised(self, task: Task) -> bool:
        view = await self._ports.chain.standing(task.address)
        return not view.attempted_by_us and not view.status.over


def _unobliged(task: Task) -> dict[str, object] | None:
    """What is not at work yet attempts for itself, if it wants to."""
    return {"obliged": False} if task.obliged and task.state in BEFORE_ATTEMPT | {TaskState.DECLINED} else None
