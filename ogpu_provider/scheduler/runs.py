"""How long a task of the past would have run here, and by what that is known. Pure; seconds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from ogpu_provider.domain.history import PastTask
from ogpu_provider.domain.learnt import Fact, Learnt
from ogpu_provider.domain.units import Address

UNKNOWN_RUN_S = 10.0
"""Of a task that neither this host nor the chain ever showed anything about."""


class Basis(StrEnum):
    FUNCTION = "function"  # what its function took here
    SOURCE = "source"  # what its source took here, whatever was asked of it
    TASK = "task"  # what the chain shows of that very task
    CHAIN = "chain"  # what the chain shows of the last ones of its source
    NOTHING = "nothing"  # nothing at all: UNKNOWN_RUN_S


@dataclass(frozen=True, slots=True)
class Run:
    """`function` is empty where it is not known, or never ran here: the source's figure then stands for it."""

    seconds: float
    basis: Basis = Basis.NOTHING
    function: str = ""


class Runs:
    """`functions`: what tasks asked for, as far as the journal knows, by their address in lower case. `durations`:
    seconds from attempt to response as the chain shows them, by source. It is always the median that counts.
    """

    def __init__(
        self,
        learnt: Iterable[Learnt],
        functions: Mapping[Address, str],
        durations: Mapping[Address, Sequence[int]],
    ) -> None:
        here: dict[Address, list[float]] = {}
        self._by_function: dict[tuple[Address, str], Run] = {}
        for one in learnt:
            if one.key.fact is Fact.RUN and one.recent:
                source, function = Address(one.key.subject), one.key.aspect
                here.setdefault(source, []).extend(one.recent)
                self._by_function[source, function] = Run(median(one.recent), Basis.FUNCTION, function)
        self._by_source = {source: Run(median(seen), Basis.SOURCE) for source, seen in here.items()}
        self._on_chain = {source: Run(float(median(took)), Basis.CHAIN) for source, took in durations.items() if took}
        self._functions = functions

    def __call__(self, task: PastTask) -> Run:
        function = self._functions.get(task.task)
        found = self._by_function.get((task.source, function)) if function else None
        found = found or self._by_source.get(task.source)
        if found is not None:
            return found
        if task.took is not None:
            return Run(float(task.took), Basis.TASK)
        return self._on_chain.get(task.source, _NOTHING)


_NOTHING = Run(UNKNOWN_RUN_S)
