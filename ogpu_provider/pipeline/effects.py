"""What the facts of one block do to rows: a task's in their order, different tasks' at once."""

from collections.abc import Sequence
from dataclasses import replace

from ogpu_provider.domain.task import Task, Transition
from ogpu_provider.domain.together import together
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.conductor import Conductor, Decide, Outcome


class Effects:
    def __init__(self) -> None:
        self._decides: dict[Address, list[Decide]] = {}

    def on(self, task: Address, decide: Decide) -> None:
        self._decides.setdefault(task, []).append(decide)

    async def act(self, conductor: Conductor) -> None:
        """Durable when it returns."""
        await together(_act(conductor, task, decides) for task, decides in self._decides.items())


async def _act(conductor: Conductor, address: Address, decides: Sequence[Decide]) -> None:
    """In as few saves as their outcomes allow: changed fields go along with what follows, a step ends a save."""
    rest = list(decides)
    while rest:
        taken = 0

        def decide(task: Task) -> Outcome:
            nonlocal taken
            taken, changes = 0, dict[str, object]()
            for one in rest:
                taken += 1
                outcome = one(task.but(**changes) if changes else task)
                if isinstance(outcome, Transition):
                    return replace(outcome, changes={**changes, **outcome.changes})
                changes |= outcome or {}
            return changes

        await conductor.apply(address, decide)
        if not taken:  # there is no such row
            return
        del rest[:taken]
