"""A service manager as small as can be: hears what a service notifies, holds its listening socket, starts it.

The program runs without write-and-execute memory, as under MemoryDenyWriteExecute, where the kernel has that switch.
"""

import asyncio
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from ogpu_provider import environment

_START = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE; an older kernel says no, which is well
descriptor = int(sys.argv[1])
if descriptor != 3:
    os.dup2(descriptor, 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", WATCHDOG_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class FakeSystemd:
    """`watchdog`: seconds that a service may be silent; `heard` has the messages with the time of their arrival.

    It listens on `host`, an address of loopback or of the engine's bridge.
    """

    def __init__(self, directory: Path, watchdog: float, host: str = "127.0.0.1") -> None:
        self._path = directory / "notify"
        self._watchdog = watchdog
        self._notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notes.bind(str(self._path))
        self._notes.setblocking(False)
        self.listener = socket.socket()
        self.listener.bind((host, 0))
        self.listener.listen(64)
        self.heard: list[tuple[float, str]] = []
        self._news = asyncio.Condition()

    @property
    def address(self) -> str:
        host, port = self.listener.getsockname()
        return f"{host}:{port}"

    async def __aenter__(self) -> Self:
        self._ear = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ear.cancel()
        self._notes.close()
        self.listener.close()

    async def start(self, log: Path, *words: str) -> asyncio.subprocess.Process:
        """Run this interpreter with `words` as the service."""
        variables = {"NOTIFY_SOCKET": str(self._path), "WATCHDOG_USEC": str(int(self._watchdog * 1e6))}
        with log.open("ab") as out:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _START, str(self.listener.fileno()), *words),
                env={**environment.others(), **variables},
                pass_fds=(self.listener.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    async def hears(self, word: str, timeout: float, after: int = 0) -> int:
        """Wait for a message with `word` among those after number `after`; returns the count up to it."""
        async with self._news, asyncio.timeout(timeout):
            while True:
                for number in range(after, len(self.heard)):
                    if word in self.heard[number][1]:
                        return number + 1
                await self._news.wait()

    def count(self, word: str) -> int:
        return sum(word in text for _, text in self.heard)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            text = (await loop.sock_recv(self._notes, 4096)).decode()
            async with self._news:
                self.heard.append((loop.time(), text))
                self._news.notify_all()
