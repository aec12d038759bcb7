"""Attempts that others made for us, and that are not on the chain any more: their blocks were undone.

A response without an attempt is refused, so we attempt for ourselves then: once the chain is as long as it was,
because the other's transaction may come back by itself; or as soon as there is a response that needs it. A response
that was refused for want of it is submitted once more. What is missing is said by `reliance`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import structlog

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.facts import Block, TaskView
from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.domain.task import AT_WORK, BEFORE_ATTEMPT, Task, TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.reliance import missing, undecided

log = structlog.get_logger()

Decide = Callable[[Task], Transition | Mapping[str, object] | None]
Apply = Callable[[Address, Decide], Awaitable[None]]

_EARLY = AT_WORK | {TaskState.SEEN}
_OPEN = _EARLY | {TaskState.SUBMITTED, TaskState.RESPONDED}


class Promises:
    """Those in doubt. `apply` lets a decision act on a task's row."""

    def __init__(self, ports: Ports, apply: Apply) -> None:
        self._ports = ports
        self._apply = apply
        self._doubted: dict[Address, int] = {}

    def heard(self, task: Address) -> None:
        """It was attempted for us, in a block of the chain."""
        self._doubted.pop(task, None)

    def doubt(self, task: Address, head: int) -> None:
        """The attempt is not on the chain, or not any more, which had `head` blocks with it."""
        self._doubted[task] = head

    async def undone(self, task: Address, head: int) -> None:
        """Its block is: what is not at work yet attempts for itself, if it wants to."""
        await self._released(task)
        self.doubt(task, head)

    async def renew(self, block: Block) -> None:
        """Attempt for ourselves what is in doubt, as far as the chain is longer than it was by now."""
        for address in [task for task, number in self._doubted.items() if block.number > number]:
            try:
                await self._renew(address)
            except ProviderError as error:  # the next block asks again
                log.warning("promise_unread", task=address, code=error.code, error=str(error))
            else:
                self._doubted.pop(address, None)

    async def _renew(self, address: Address) -> None:
        task = await self._ports.journal.task(address)
        if task is None or task.state not in _OPEN:
            return
        view = await self._ports.chain.standing(address)
        if not view.attempted_by_us and not view.status.over:
            await self._released(address)
            task = await self._ports.journal.task(address)
        if task is not None:
            await made_good(task, view, self._ports)

    async def _released(self, task: Address) -> None:
        """One that has planned an attempt of its own has decided already."""
        intents = await self._ports.journal.intents_of(task)
        if not any(row.intent.effect is Effect.ATTEMPT for row in intents):
            await self._apply(task, _unobliged)


def oblige(task: Task) -> Transition | Mapping[str, object] | None:
    """Another has attempted for us: it is owed, also where we had declined it."""
    if task.state is TaskState.DECLINED:
        return Transition(TaskState.SEEN, {"obliged": True, "function": "", "expiry": 0})
    return {"obliged": True} if task.state in _EARLY and not task.obliged else None


async def promised(task: Task, ports: Ports) -> None:
    """Returns when a response may follow: the attempt is on the chain, or ours is planned. Raises RpcUnavailable."""
    await made_good(task, await ports.chain.standing(task.address), ports)


async def made_good(task: Task, view: TaskView, ports: Ports) -> bool:
    """Plans anew what is missing, as `view` has it; a crash in between leaves the rest missing.

    False if what failed is the end: nothing is missing, and no attempt on its way either.
    """
    intents = await ports.journal.intents_of(task.address)
    wanted = missing(task, view, intents, ports.head.now(ports.clock))
    for effect in wanted:
        times = sum(row.intent.effect is effect for row in intents)
        await ports.journal.plan(_anew(effect, task, view, times, ports), at=ports.clock.now())
        log.warning("promise_renewed", task=task.address, effect=effect)
    if wanted:
        ports.sender.wake()
    return bool(wanted) or undecided(view, intents)


def _anew(effect: Effect, task: Task, view: TaskView, times: int, ports: Ports) -> Intent:
    """`times`: how often it was planned before; each has a key of its own."""
    expiry = float(view.expiry)
    if effect is Effect.ATTEMPT:
        intent = ports.chain.intent_attempt(task.address, task.asks, expiry)
    else:
        intent = ports.chain.intent_submit(task.address, task.link, task.asks, expiry)
    return replace(intent, key=f"{intent.key}:{times + 1}") if times else intent


def _unobliged(task: Task) -> dict[str, object] | None:
    return {"obliged": False} if task.obliged and task.state in BEFORE_ATTEMPT | {TaskState.DECLINED} else None
