"""Talks to the official SDK in its own process (`sdk_process.py`)."""

import asyncio
import json
import sys
from types import TracebackType
from typing import Any, Self

from ogpu_provider.domain.errors import DevnetError


class SdkClient:
    """One client identity. Calls are answered one at a time, in order."""

    def __init__(self, rpc_url: str, publish_url: str, private_key: str) -> None:
        self._setup = {"rpc_url": rpc_url, "publish_url": publish_url, "private_key": private_key}
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self.address = ""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ogpu_provider.devnet.sdk_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=64 << 20,
        )
        self.address = await self.call("setup", **self._setup)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
        await process.communicate()  # to the end of its pipes: an open one outlives the loop

    async def call(self, verb: str, **arguments: Any) -> Any:
        """Raises DevnetError with the SDK's own words if the call fails."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        async with self._lock:
            process.stdin.write(json.dumps({"do": verb, **arguments}).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        if not line:
            raise DevnetError("the SDK's process ended", code="devnet.sdk_gone")
        answer = json.loads(line)
        if "error" in answer:
            raise DevnetError(f"SDK {verb}: {answer['error']}", code="devnet.sdk_refused")
        return answer["ok"]
