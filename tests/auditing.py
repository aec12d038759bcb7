"""Starts the auditor (tests/auditor) beside a test, and asks it for its verdict."""

import asyncio
import base64
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ogpu_provider.devnet import accounts
from ogpu_provider.domain.units import COIN
from ogpu_provider.environment import others

MAX_FEE = 500 * 10**9
BUDGET = 100 * COIN
"""What a daemon without settings may pay: for one gas, and in a day."""
START_S, VERDICT_S = 30.0, 120.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`findings`: what breaks each invariant, by its name; `attempts` and `responses`: the tasks, lower-case."""

    findings: Mapping[str, Sequence[str]]
    attempts: Sequence[str]
    responses: Sequence[str]
    transactions: int
    seen: int
    containers: int

    @property
    def broken(self) -> dict[str, Sequence[str]]:
        return {name: what for name, what in self.findings.items() if what}


class Auditor:
    """`async with Auditor(rpc_url, nexus, provider, ...) as auditor`. `provider` is an account of `devnet.accounts`."""

    def __init__(
        self,
        rpc_url: str,
        nexus: str,
        provider: accounts.Account,
        *,
        instance: str = "",
        gateway: str = "",
        outputs: Sequence[Path] = (),
        decoys: Sequence[str] = (),
    ) -> None:
        self._watch = {
            "rpc_url": rpc_url,
            "ws_url": rpc_url.replace("http://", "ws://"),
            "nexus": nexus,
            "provider": provider.address,
            "max_fee": MAX_FEE,
            "budget": BUDGET,
            "instance": instance,
            "gateway": gateway,
            "secrets": forms(provider.private_key),
            "outputs": [str(path) for path in outputs],
            "decoys": list(decoys),
        }
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.auditor"),
            cwd=Path(__file__).parent.parent,
            env=others(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=64 << 20,
        )
        assert await self._say(self._watch, START_S) == {"watching": True}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()  # to the end of its pipes: an open one outlives the loop

    async def verdict(self, expected: Mapping[str, Any] | None = None, unanswered: Sequence[str] = ()) -> Verdict:
        """`expected`: each task's payload, where it is known; `unanswered`: tasks that nobody owes a response."""
        said = await self._say({"expected": dict(expected or {}), "unanswered": list(unanswered)}, VERDICT_S)
        assert said.pop("knows") == [], "the auditor uses the code that it audits"
        return Verdict(**said)

    async def _say(self, line: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(line).encode() + b"\n")
        await process.stdin.drain()
        answer = await asyncio.wait_for(process.stdout.readline(), timeout)
        assert answer, "the auditor ended"
        said: dict[str, Any] = json.loads(answer)
        return said


def forms(key: str) -> list[str]:
    """How a key would look in a text."""
    raw = bytes.fromhex(key.removeprefix("0x"))
    texts = (raw.hex(), raw.hex().upper(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode())
    return [*dict.fromkeys(texts), str(int(raw.hex(), 16))]
