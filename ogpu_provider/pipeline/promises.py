"""Attempts that others made for us, and that are not on the chain any more: their blocks were undone.

A response without an attempt is refused, so we attempt for ourselves then: once the chain is as long as it was,
because the other's transaction may come back by itself; or as soon as there is a response that needs it.
"""

from collections.abc import Awaitable, Callable, Mapping

import structlog

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.task import AT_WORK, BEFORE_ATTEMPT, Task, TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.ports import Ports

log = structlog.get_logger()

Decide = Callable[[Task], Transition | Mapping[str, object] | None]
Apply = Callable[[Address, Decide], Awaitable[None]]


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
        await self._apply(task, _unobliged)
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
        if task is None or task.state not in AT_WORK | {TaskState.SEEN} or await _stands(task, self._ports):
            return
        await self._apply(address, _unobliged)
        task = await self._ports.journal.task(address)
        if task is not None and task.obliged and task.state in AT_WORK:
            await _attempt(task, self._ports)


async def promised(task: Task, ports: Ports) -> None:
    """Returns when a response may follow: the attempt is on the chain, or ours is planned. Raises RpcUnavailable."""
    if not await _stands(task, ports):
        await _attempt(task, ports)


async def _stands(task: Task, ports: Ports) -> bool:
    """True, too, where the task is over: there is nothing to attempt."""
    view = await ports.chain.standing(task.address)
    return view.attempted_by_us or view.status.over


async def _attempt(task: Task, ports: Ports) -> None:
    intent = ports.chain.intent_attempt(task.address, task.asks, float(task.expiry))
    if await ports.journal.plan(intent, at=ports.clock.now()):
        log.warning("promise_renewed", task=task.address)
        ports.sender.wake()


def _unobliged(task: Task) -> dict[str, object] | None:
    return {"obliged": False} if task.obliged and task.state in BEFORE_ATTEMPT | {TaskState.DECLINED} else None
