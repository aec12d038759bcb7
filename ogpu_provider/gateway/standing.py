"""What the chain says of a task of ours, and whether that is still the end that its order has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ogpu_provider.chain.contracts import Malformed, decode_result, present, task_status
from ogpu_provider.chain.reader import granted, view
from ogpu_provider.chain.receipts import Node
from ogpu_provider.chain.wire import JsonRpcError
from ogpu_provider.domain.facts import TaskStatus
from ogpu_provider.domain.order import Order, OrderState
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.units import ZERO_ADDRESS, Address

_FIRST = 50
"""Attempts of a task that are looked at for a response."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A task on chain, as of block `height` or one before it.

    `status`: None where there is no such task, which is so where its publication was undone; `taken`: where its address
    is by now that of another one, published in its stead. `provider` is who
    attempted it first; `responses` are (provider, response), the winner's alone once there is a winner, else the first
    ones in their order.
    """

    height: int
    status: TaskStatus | None
    provider: Address | None = None
    responses: Sequence[tuple[Address, Address]] = ()
    confirmed: bool = False
    manual: bool = False
    taken: bool = False

    @property
    def winner(self) -> tuple[Address, Address] | None:
        """The provider that was paid, and its response."""
        return self.responses[0] if self.status is TaskStatus.FINALIZED and self.confirmed else None

    @property
    def paid_back(self) -> bool:
        return self.status in (TaskStatus.EXPIRED, TaskStatus.CANCELED)

    def ends(self, order: Order) -> bool:
        """Whether an order that is over is so by what the chain says."""
        if order.state is OrderState.CANCELLED:
            return self.status is TaskStatus.CANCELED
        if order.state is OrderState.COMPLETED or order.code.startswith("result."):  # paid, and read or not readable
            return self.winner is not None and self.winner[1] == order.response
        if order.refunded:
            return self.paid_back or self.status is None
        return self.status is not None and self.winner is None and (self.paid_back or not self.responses)


async def standing_of(node: Node, order: Order, task: Address) -> Standing:
    """Two round trips at most. Raises RpcUnavailable, RpcRejected, and Malformed for what is no answer."""
    status, terms, count, method, winner, newest = await _ask(
        node,
        view(task, "Task.getStatus"),
        view(task, "Task.taskParams"),
        view(task, "Task.getAttemptCount"),
        view(task, "Task.getDeliveryMethod"),
        view(task, "Task.winningProvider"),
        ("eth_blockNumber", ()),
    )
    height = _height(newest)
    try:
        said = task_status(status)
    except Malformed as error:
        if error.code != "chain.empty_answer":
            raise
        return Standing(height, None)
    source, *rest = decode_result("Task.taskParams", terms)
    if (source.lower(), *rest) != (order.source.lower(), order.config_url, order.expiry, order.payment):
        return Standing(height, None, taken=True)
    attempts = min(decode_result("Task.getAttemptCount", count), _FIRST)
    manual = decode_result("Task.getDeliveryMethod", method) == DeliveryMethod.MANUAL_CONFIRMATION
    if not attempts:
        return Standing(height, said, manual=manual)
    won = present(decode_result("Task.winningProvider", winner))
    providers, responses = await _answers_of(node, task, attempts, won)
    return Standing(height, said, providers[0], responses, won is not None, manual)


async def _answers_of(
    node: Node, task: Address, attempts: int, winner: Address | None
) -> tuple[list[Address], list[tuple[Address, Address]]]:
    """Who attempted, and (provider, response) of who has answered; of the winner alone where there is one."""
    every = 0, attempts - 1
    asked = view(task, "Task.responseOf", winner) if winner else view(task, "Task.getResponsesOf", *every)
    attempters, answers = await _ask(node, view(task, "Task.getAttempters", *every), asked)
    providers = list(decode_result("Task.getAttempters", attempters))
    if winner:
        return providers, [(winner, decode_result("Task.responseOf", answers))]
    responses = decode_result("Task.getResponsesOf", answers)
    return providers, [pair for pair in zip(providers, responses, strict=True) if pair[1] != ZERO_ADDRESS]


def _height(newest: Any) -> int:
    try:
        return int(newest, 16)
    except (TypeError, ValueError) as error:
        raise Malformed("eth_blockNumber: no number") from error


async def _ask(node: Node, *calls: Any) -> list[Any]:
    answers: list[Any | JsonRpcError] = await node.batch(calls)
    return granted(answers)
