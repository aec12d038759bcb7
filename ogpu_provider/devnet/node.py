"""A local chain node: anvil, as a child process that never outlives us."""

import asyncio
import ctypes
import re
import shutil
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from ogpu_provider.devnet import accounts, tools
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.domain.errors import DevnetError

TESTNET_CHAIN_ID = 200820172034

_PR_SET_PDEATHSIG = 1
_STATES_ON_DISK = 32
"""Older blocks, receipts and logs stay readable, only their state does not."""


class Node:
    """An anvil on 127.0.0.1, on a port of its own choice, with the public testnet's chain id.

    `block_time` in seconds may be a fraction; chain time follows the wall clock either way. HTTP and websocket share
    the port. The accounts are those of `accounts.MNEMONIC`. Starting provisions anvil unless `binary` names one.
    """

    def __init__(
        self,
        log: Path,
        *,
        block_time: float = 1.0,
        chain_id: int = TESTNET_CHAIN_ID,
        binary: Path | None = None,
        cache: Path | None = None,
        start_timeout: float = 30.0,
    ) -> None:
        self._log = log
        self._block_time = block_time
        self._chain_id = chain_id
        self._binary = binary
        self._cache = cache
        self._start_timeout = start_timeout
        self._process: asyncio.subprocess.Process | None = None
        self._port = 0

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self._started_port()}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self._started_port()}"

    @property
    def log_path(self) -> Path:
        return self._log

    @property
    def pid(self) -> int:
        """The node's process. Raises DevnetError when it is not running."""
        self._started_port()
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns once the node answers. Raises DevnetError with the end of its log."""
        binary = self._binary or await tools.ensure_anvil(self._cache)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(binary),
                *self._arguments(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours: we stop the node last
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        try:
            async with asyncio.timeout(self._start_timeout):
                self._port = await self._listening_port()
                await self._configure()
        except TimeoutError as error:
            await self.stop()
            raise DevnetError(f"anvil did not answer: {self._log_end()}", code="devnet.node") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends the node and waits for its end. Harmless when it is not running."""
        process, self._process, self._port = self._process, None, 0
        if process is None:
            return
        if process.returncode is None:
            await _end(process)
        await asyncio.to_thread(shutil.rmtree, self._states, ignore_errors=True)

    async def wait(self) -> int:
        """The exit status, once the node has ended. For those who must notice that it did."""
        if self._process is None:
            raise DevnetError("the node is not running", code="devnet.node")
        return await self._process.wait()

    def _arguments(self) -> list[str]:
        return [
            *("--host", "127.0.0.1", "--port", "0", "--no-cors"),
            *("--chain-id", str(self._chain_id), "--block-time", f"{self._block_time:g}"),
            *("--mnemonic", accounts.MNEMONIC, "--accounts", "20", "--balance", str(accounts.BALANCE)),
            *("--slots-in-an-epoch", "1"),
            # --prune-history would be the obvious choice, but with short blocks anvil 1.7 then keeps 1500 states in
            # memory, each as large as the chain is long. With a few on disk, ten stay in memory after 3000 blocks.
            *("--max-persisted-states", str(_STATES_ON_DISK), "--cache-path", str(self._states)),
        ]

    @property
    def _states(self) -> Path:
        return self._log.with_suffix(".states")

    async def _listening_port(self) -> int:
        while True:
            if self._process is None or self._process.returncode is not None:
                raise DevnetError(f"anvil ended at once: {self._log_end()}", code="devnet.node")
            found = re.search(rb"Listening on 127\.0\.0\.1:(\d+)", self._log.read_bytes())
            if found:
                return int(found[1])
            await asyncio.sleep(0.02)

    async def _configure(self) -> None:
        async with JsonRpc(self.rpc_url) as rpc:
            if int(await rpc.call("eth_chainId"), 16) != self._chain_id:
                raise DevnetError("the node has another chain id", code="devnet.node")
            await rpc.call("anvil_setLoggingEnabled", False)  # one line per call would fill the disk in time

    def _started_port(self) -> int:
        if not self._port:
            raise DevnetError("the node is not running", code="devnet.node")
        return self._port

    def _log_end(self) -> str:
        return self._log.read_text(errors="replace")[-2000:].strip()


async def _end(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(5):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _die_with_parent() -> None:
    """Runs in the child: the kernel kills it when the thread that started it ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
