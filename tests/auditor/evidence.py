"""What a bystander knows: blocks, logs, transactions seen in the pool, containers, pinned bytes. No journal, no code
of the daemon: the signatures below are the public contracts' own.
"""

from dataclasses import dataclass, field
from typing import Any

from eth_utils.crypto import keccak


def selector(signature: str) -> str:
    return "0x" + keccak(text=signature)[:4].hex()


def topic(signature: str) -> str:
    return "0x" + keccak(text=signature).hex()


FUNCTIONS: dict[str, str] = {
    selector("attempt(address,address,uint256)"): "attempt",
    selector("submitResponse((address,address,string,uint256))"): "submitResponse",
    selector("register(address,address,uint8)"): "register",
    selector("unregister(address,address)"): "unregister",
    selector("announceMaster(address)"): "announceMaster",
    selector("setBaseData(string)"): "setBaseData",
    selector("setLiveData(string)"): "setLiveData",
    selector("deposit(address)"): "deposit",
    selector("lock(uint256)"): "lock",
    selector("unbond(uint256)"): "unbond",
    selector("claim()"): "claim",
    selector("withdraw(uint256)"): "withdraw",
}
"""What a provider's key may do; anything else that it signed is a finding."""
EVENTS: dict[str, str] = {
    topic("TaskPublished(address,address)"): "TaskPublished",
    topic("Attempted(address,address,uint256)"): "Attempted",
    topic("Registered(address,uint256,address,uint8)"): "Registered",
    topic("ResponseSubmitted(address,address)"): "ResponseSubmitted",
    topic("TaskStatusChanged(address,uint8)"): "TaskStatusChanged",
}
VOID = "void"
UNKNOWN = "unknown"
TASK_OVER = (3, 5)  # canceled, finalized
FINALIZED = 5


@dataclass(frozen=True, slots=True)
class Transaction:
    """Of the provider's key. `block` is None for what was only seen in the pool; `fee` in wei is what it cost."""

    hash: str
    nonce: int
    to: str
    data: str
    value: int
    max_fee: int
    block: int | None = None
    worked: bool | None = None
    fee: int = 0

    def does(self, provider: str) -> str:
        if self.to == provider and self.data == "0x" and self.value == 0:
            return VOID
        return FUNCTIONS.get(self.data[:10], UNKNOWN)

    def subject(self, provider: str) -> str:
        """The address that it is about: the task, or the source."""
        kind = self.does(provider)
        if kind == "submitResponse":  # a struct with a string: its offset stands first
            return address(self.data[10:], 1)
        return address(self.data[10:], 0) if kind in ("attempt", "register", "unregister") else ""


@dataclass(frozen=True, slots=True)
class Log:
    """`place` orders logs; `at` is its block's time in unix seconds; `values` are the words of its data."""

    event: str
    values: tuple[str, ...]
    place: tuple[int, int]
    tx: str
    at: int

    def address(self, index: int) -> str:
        return "0x" + self.values[index][-40:]

    def number(self, index: int) -> int:
        return int(self.values[index], 16)


@dataclass(frozen=True, slots=True)
class Task:
    """As the chain has it at the end. `expiry` in unix seconds, `payment` in wei."""

    source: str
    expiry: int
    payment: int
    status: int


@dataclass(frozen=True, slots=True)
class Pinned:
    """What is behind the link of a response: the bytes, and the CID that they really have. None: nothing."""

    link: str
    body: bytes | None
    cid: str


@dataclass(frozen=True, slots=True)
class Container:
    id: str
    name: str
    source: str
    service: str
    running: bool
    devices: tuple[str, ...]


@dataclass
class Evidence:
    """`seen`: every transaction that was ever in the pool. `decoys`: what changed about other people's containers.
    `leaks`: where a secret was found. `expected`: the payload of a task's result, where the test knows it.
    `unanswered`: tasks that nobody owes a response.
    """

    provider: str
    mined: list[Transaction] = field(default_factory=list)
    seen: list[Transaction] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    pinned: dict[str, Pinned] = field(default_factory=dict)
    containers: list[Container] = field(default_factory=list)
    decoys: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    expected: dict[str, Any] = field(default_factory=dict)
    unanswered: frozenset[str] = frozenset()
    max_fee: int = 0
    budget: int = 0


def address(words: str, index: int) -> str:
    return "0x" + words[64 * index + 24 : 64 * index + 64]


def link_of(transaction: Transaction) -> str:
    """The text that a submitResponse carries. Raises ValueError where there is none."""
    words = transaction.data[10:]
    start = 64 + 2 * int(words[64 + 64 * 2 : 64 + 64 * 3], 16)  # behind the offset of the struct
    length = int(words[start : start + 64], 16)
    return bytes.fromhex(words[start + 64 : start + 64 + 2 * length]).decode()
