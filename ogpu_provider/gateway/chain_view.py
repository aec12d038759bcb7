"""What the half that answers knows of the chain: what the other half, which asks the nodes, tells it."""

import asyncio
import itertools
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.gateway.line import Line

PATIENCE_S = 10.0
"""Seconds that a request waits for what is not known yet."""


class ChainView:
    def __init__(self, line: Line, *, patience_s: float = PATIENCE_S) -> None:
        self._line = line
        self._patience_s = patience_s
        self._balance: Wei | None = None
        self._known = asyncio.Event()
        self._head_time = 0.0
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[bool | None]] = {}

    def take(self, told: Mapping[str, Any]) -> None:
        if told["what"] == "chain":
            self._head_time = told["time"]
            self._balance = None if told["balance"] is None else int(told["balance"])
            (self._known.clear if self._balance is None else self._known.set)()
        elif told["what"] == "answered" and (asked := self._asked.pop(told["number"], None)) and not asked.done():
            asked.set_result(told["holds"])

    def time(self) -> float:
        """The clock's, or the head's where that is ahead: no task is published that the chain takes for expired."""
        return max(time.time(), self._head_time)

    async def balance(self) -> Wei:
        """In the Vault, in wei, as of a block from before the payments that are not held back any more.

        Raises RpcUnavailable where no node says.
        """
        if self._balance is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._known.wait(), self._patience_s)
        if self._balance is None:
            raise RpcUnavailable("the balance in the Vault is not known")
        return self._balance

    async def vouches(self, wallet: Address, digest: bytes, signature: bytes) -> bool:
        """Whether a contract says that it signed (EIP-1271). Raises RpcUnavailable where no node says."""
        number, answer = next(self._numbers), asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._line.tell("asked", number=number, wallet=wallet, digest=digest.hex(), signature=signature.hex())
        try:
            holds = await asyncio.wait_for(answer, self._patience_s)
        except TimeoutError:
            holds = None
        finally:
            self._asked.pop(number, None)
        if holds is None:
            raise RpcUnavailable("no node says whether the wallet signed this")
        return bool(holds)
