"""Which fault befalls which call: each of a list once, whatever the order in which the methods are called."""

import random
import time
from collections import defaultdict, deque
from collections.abc import Collection

from tests.faults.lies import NEWS, OUTAGES, Fault
from tests.faults.methods import METHODS

Case = tuple[Fault, str]
WHOLE = (Fault.REFUSE, Fault.WRONG_CHAIN)
"""Faults of an endpoint, not of a method."""
_BEHIND = (
    "eth_blockNumber", "eth_getBlockByNumber", "eth_getBlockByHash", "eth_getLogs", "eth_call", "eth_getBalance",
    "eth_getCode", "eth_getTransactionCount", "eth_getTransactionReceipt", "eth_getTransactionByHash", NEWS,
)  # fmt: skip
SPOILT: dict[Fault, tuple[str, ...]] = {
    **{fault: (*METHODS, NEWS) for fault in OUTAGES if fault not in WHOLE},
    Fault.LAG: _BEHIND,
    Fault.ALTERNATE: _BEHIND,
    Fault.EMPTY_LOGS: ("eth_getLogs", NEWS),
    Fault.FORGED_LOG: ("eth_getLogs", NEWS),
    Fault.WRONG_RECEIPT: ("eth_getTransactionReceipt", "eth_getBlockReceipts"),
    Fault.WRONG_NONCE: ("eth_getTransactionCount",),
    Fault.ABSURD_FEE: ("eth_gasPrice", "eth_maxPriorityFeePerGas", "eth_getBlockByNumber", NEWS),
}
"""What each fault can spoil: a node cannot lag behind with a gas price."""
APART_S, ALIKE_S, CALLS = 0.05, 0.3, 6
"""Seconds between two faults and between two on the same method, and calls between two that are answered well: an
endpoint that only fails is left to rest for longer and longer. An endpoint that complains (429) is asked half as often
each time, unless it complains of many calls at once: these come without a pause."""


class Plan:
    """`left` are the cases still to come, `struck` those that were."""

    def __init__(self, faults: Collection[Fault], seed: int) -> None:
        cases = [(fault, method) for fault in faults for method in SPOILT[fault]]
        random.Random(seed).shuffle(cases)
        self._queues: defaultdict[str, deque[Fault]] = defaultdict(deque)
        for fault, method in cases:
            self._queues[method].append(fault)
        self.struck: list[Case] = []
        self.asked = frozenset(cases)
        self.hurried = {*faults} == {Fault.BUSY}
        self._apart, self._alike, self._calls = (0.0, 0.0, 0) if self.hurried else (APART_S, ALIKE_S, CALLS)
        self._well = self._calls
        self._not_before: defaultdict[str, float] = defaultdict(float)

    @property
    def left(self) -> list[Case]:
        return [(fault, method) for method, queue in self._queues.items() for fault in queue]

    def take(self, method: str) -> Fault | None:
        """What befalls this call; it is out of the list until `put_back`."""
        now, queue = time.monotonic(), self._queues[method]
        self._well += 1
        if not queue or self._well <= self._calls or now < max(self._not_before[method], self._not_before[""]):
            return None
        self._not_before[method], self._not_before[""] = now + self._alike, now + self._apart
        self._well = 0
        self.struck.append((queue[0], method))
        return queue.popleft()

    def put_back(self, fault: Fault, method: str) -> None:
        """There was nothing to spoil in the answer: the next one perhaps."""
        self.struck.remove((fault, method))
        self._queues[method].append(fault)
        self._not_before[method] = self._not_before[""] = 0.0
        self._well = self._calls
