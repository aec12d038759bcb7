"""Which facts the path would act on. All others are dropped where they are read: nothing is spent on their blocks.

The events of the protocol index nothing, so a node cannot be asked for the logs of one source or provider alone: it
gives everybody's. Asked again at every block, because what concerns us changes with what we serve and do.
"""

from collections.abc import Callable, Sequence

from ogpu_provider.domain import facts
from ogpu_provider.domain.facts import Fact
from ogpu_provider.domain.source import SourceState
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.pipeline.book import SourceBook


def serves(book: SourceBook, source: Address) -> bool:
    """Whether its new tasks are looked at: it is ready, or may become so."""
    row = book.get(source)
    return row is not None and row.state is not SourceState.DROPPED


class Concerns:
    """`follows`: whether a task is live here. `carries`: whether a transaction is one of ours in flight. `rival` hears
    of others' attempts at tasks that we follow.
    """

    def __init__(
        self,
        provider: Address,
        book: SourceBook,
        follows: Callable[[Address], bool],
        carries: Callable[[Hash], bool],
        rival: Callable[[facts.Attempted], None] = lambda _: None,
    ) -> None:
        self._provider = provider
        self._book = book
        self._follows = follows
        self._carries = carries
        self._rival = rival

    def of(self, found: Sequence[Fact]) -> list[Fact]:
        """Those of `found`, in chain order, that concern us: also what follows on a task that one of them names."""
        named: set[Address] = set()
        return [fact for fact in found if self._is_ours(fact, named) or self._carries(fact.origin.tx_hash)]

    def _is_ours(self, fact: Fact, named: set[Address]) -> bool:
        match fact:
            case facts.TaskPublished():
                ours = serves(self._book, fact.source)
            case facts.Attempted():
                ours = fact.provider == self._provider
                if not ours and (fact.task in named or self._follows(fact.task)):
                    self._rival(fact)
            case facts.TaskStatusChanged() | facts.ResponseSubmitted():
                return fact.task in named or self._follows(fact.task)
            case facts.SourcePublished():
                return True
            case facts.SourceUpdated() | facts.SourceStatusChanged():
                return self._book.get(fact.source) is not None
            case facts.Registered() | facts.RemoveContainer() | facts.ProviderRemoved():
                return fact.provider == self._provider
        if ours:
            named.add(fact.task)
        return ours
