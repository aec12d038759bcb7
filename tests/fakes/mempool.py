"""A chain node as far as a sender sees one: a pool, blocks on demand, lost replies, undone blocks.

Signed bytes are JSON here, so that nothing needs a curve. `sends` counts how often each transaction was handed in.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.errors import KeyRefused, RpcUnavailable
from ogpu_provider.domain.facts import Attempted, Block, Fact, Origin
from ogpu_provider.domain.intent import Effect, Intent, SignedTx
from ogpu_provider.domain.units import Address, Hash, Wei

ME = Address("0x" + "a1" * 20)
GWEI = 10**9


@dataclass(frozen=True, slots=True)
class PoolTx:
    hash: Hash
    intent_key: str
    subject: Address
    nonce: int
    gas: int
    max_fee: Wei
    void: bool = False


class FakeSigner:
    """Signs everything but intents whose key is in `refused`."""

    def __init__(self) -> None:
        self.refused: set[str] = set()

    @property
    def address(self) -> Address:
        return ME

    async def sign(
        self, intent: Intent, *, nonce: int, gas: int, max_fee: Wei, tip_fee: Wei | None, at: float
    ) -> SignedTx:
        if intent.key in self.refused:
            raise KeyRefused("no", code="key.policy")
        fields = {"key": intent.key, "subject": intent.subject, "nonce": nonce, "gas": gas, "max_fee": max_fee}
        fields["void"] = intent.effect is Effect.FILL
        raw = json.dumps(fields).encode()
        return SignedTx(_hash(raw), intent.key, nonce, raw, gas, max_fee, tip_fee, at)


class FakeMempool:
    """`fault(method)` decides before each call: "" works, "lost" works but the answer is lost, "down" does nothing."""

    def __init__(self, *, base_fee: Wei | None = GWEI) -> None:
        self.fault: Callable[[str], str] = lambda method: ""
        self.base_fee = base_fee
        self.asked: Counter[str] = Counter()
        self.sends: Counter[Hash] = Counter()
        self.pool: dict[int, PoolTx] = {}
        self.blocks: list[Block] = [Block(0, _hash(b"0"), _hash(b"-"), 1_800_000_000, base_fee)]
        self.receipts: dict[Hash, dict[str, Any]] = {}
        self.mined: list[list[PoolTx]] = [[]]
        self.no_tip = False
        self._made = 0
        self.refuse_sends = False
        self.balance: Wei = 10**24
        self.gas_price: Wei = 2 * GWEI

    @property
    def head(self) -> Block:
        return self.blocks[-1]

    @property
    def nonce(self) -> int:
        return sum(len(txs) for txs in self.mined)

    async def call(self, method: str, *params: Any) -> Any:
        [answer] = await self.batch([(method, params)])
        if isinstance(answer, JsonRpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        fault = self.fault(calls[0][0])
        for method, _ in calls:
            self.asked[method] += 1
        if fault == "down":
            raise RpcUnavailable("down")
        answers = [self._answer(method, params) for method, params in calls]
        if fault == "lost":
            raise RpcUnavailable("lost")
        return answers

    async def attributed(self, calls: Sequence[Call]) -> tuple[list[Any | JsonRpcError], str]:
        return await self.batch(calls), "node"

    async def elsewhere(self, calls: Sequence[Call], than: str) -> list[Any | JsonRpcError] | None:
        return None

    def mine(self, *, revert: Collection[str] = (), limit: int = 10**6) -> tuple[Block, list[Fact]]:
        """One block with what the pool can put in order; the attempts that worked leave a log."""
        number = len(self.blocks)
        parent = self.head
        self._made += 1  # the same height again is another block
        salt = f"{number} {self._made}".encode()
        block = Block(number, _hash(salt), parent.hash, parent.timestamp + 1, self.base_fee)
        taken: list[PoolTx] = []
        facts: list[Fact] = []
        nonce = self.nonce
        while (tx := self.pool.get(nonce)) and len(taken) < limit and tx.max_fee >= (self.base_fee or 0):
            del self.pool[nonce]
            taken.append(tx)
            nonce += 1
            failed = tx.intent_key in revert
            self.receipts[tx.hash] = {
                "status": "0x0" if failed else "0x1",
                "blockNumber": hex(number),
                "blockHash": block.hash,
                "gasUsed": hex(100_000),
                "effectiveGasPrice": hex(2 * GWEI),
            }
            if not failed and not tx.void and ":attempt:" in tx.intent_key:
                facts.append(Attempted(Origin(number, block.hash, tx.hash, len(facts)), tx.subject, ME, 1))
        self.blocks.append(block)
        self.mined.append(taken)
        return block, facts

    def undo(self, depth: int = 1) -> None:
        """Drop blocks; their transactions do not come back to the pool."""
        for _ in range(depth):
            self.blocks.pop()
            for tx in self.mined.pop():
                del self.receipts[tx.hash]

    def _answer(self, method: str, params: tuple[Any, ...]) -> Any | JsonRpcError:
        match method:
            case "eth_getTransactionCount":
                return hex(self.nonce)
            case "eth_maxPriorityFeePerGas":
                return JsonRpcError(method, -32601, "no such method") if self.no_tip else hex(GWEI)
            case "eth_getBalance":
                return hex(self.balance)
            case "eth_gasPrice":
                return hex(self.gas_price)
            case "eth_sendRawTransaction":
                return self._take(bytes.fromhex(params[0][2:]))
            case "eth_getBlockReceipts":
                inside = (
                    [tx.hash for tx in self.mined[int(params[0], 16)]] if int(params[0], 16) < len(self.mined) else []
                )
                return [{"transactionHash": tx_hash, **self.receipts[tx_hash]} for tx_hash in inside]
            case "eth_getTransactionReceipt":
                return self.receipts.get(params[0])
            case "eth_getTransactionByHash":
                known = params[0] in self.receipts or any(tx.hash == params[0] for tx in self.pool.values())
                return {"hash": params[0]} if known else None
        raise AssertionError(f"a sender does not ask for {method}")

    def _take(self, raw: bytes) -> Any | JsonRpcError:
        fields = json.loads(raw)
        key, subject, nonce = fields["key"], Address(fields["subject"]), fields["nonce"]
        tx = PoolTx(_hash(raw), key, subject, nonce, fields["gas"], fields["max_fee"], fields["void"])
        self.sends[tx.hash] += 1
        if self.refuse_sends:
            return JsonRpcError("eth_sendRawTransaction", -32000, "insufficient funds")
        if nonce < self.nonce:
            return JsonRpcError("eth_sendRawTransaction", -32000, "nonce too low")
        if nonce in self.pool:
            if self.pool[nonce].hash == tx.hash:
                return JsonRpcError("eth_sendRawTransaction", -32000, "already known")
            if tx.max_fee * 10 < self.pool[nonce].max_fee * 11:
                return JsonRpcError("eth_sendRawTransaction", -32000, "replacement transaction underpriced")
        self.pool[nonce] = tx
        return tx.hash


def _hash(data: bytes) -> Hash:
    return Hash("0x" + hashlib.sha256(data).hexdigest())
