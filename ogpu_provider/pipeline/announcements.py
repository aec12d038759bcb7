"""What the chain says of sources, of our pairing, and of promises that others made for us; and the way back.

A fact is remembered for as long as its block may be undone. Taking one back means to look again, because what the
chain says now is not known from what it no longer says. Of what the contracts do not keep (the master's wish that
containers go), the opposite is done.
"""

import structlog

from ogpu_provider.domain import facts
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.source import SourceState, SourceStatus
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.promises import Promises
from ogpu_provider.pipeline.sources import SourceKeeper

log = structlog.get_logger()

_REMEMBERED = 1024


class Announcements:
    def __init__(self, ports: Ports, promises: Promises, keeper: SourceKeeper) -> None:
        self._ports = ports
        self._promises = promises
        self._keeper = keeper
        self._facts: dict[Fact, None] = {}

    def take(self, fact: Fact) -> None:
        """Act on a fact; one that is none of these, or not about us, is ignored."""
        us = self._ports.chain.provider
        match fact:
            case facts.Attempted(provider=provider) if provider == us:
                self._promises.heard(fact.task)
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

    def _undone(self, above: int) -> list[Fact]:
        """The newest first; they are forgotten."""
        found = [fact for fact in self._facts if fact.origin.block_number > above]
        self._facts = {fact: None for fact in self._facts if fact not in found}
        return found[::-1]

    async def _take_back(self, fact: Fact, head: int) -> None:
        match fact:
            case facts.Attempted():
                await self._promises.undone(fact.task, head)
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
