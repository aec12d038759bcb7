"""Asks a vendor's driver through a process of its own, so that a driver that hangs or crashes stops nothing here.

answered        the reading
silent          the process is given up, and killed if the kernel lets us; the devices seen last are withheld
ended           the same, and it is started anew
not to be had   a growing pause lies between two starts, up to a minute; then it is tried again, for ever
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.reading import Reading, parsed

log = structlog.get_logger()

DEADLINE_S = 10.0
PAUSE_S, PAUSE_MAX_S = 1.0, 60.0
_LINE = 4 << 20
"""Bytes; the longest reading."""


async def once(vendor: str, clock: Clock, *, deadline: float = DEADLINE_S) -> Reading:
    """One reading by a process that ends with it."""
    probe = Probe(vendor, clock, deadline=deadline)
    try:
        return await probe.read()
    finally:
        await probe.aclose()


class Probe:
    """One vendor. `read` takes at most `deadline` seconds; `starts` counts the processes that were needed so far.

    `longest`: bytes of a reading, more of which nobody waits for.
    """

    def __init__(
        self,
        vendor: str,
        clock: Clock,
        *,
        deadline: float = DEADLINE_S,
        sys_root: Path = Path("/sys"),
        dev_root: Path = Path("/dev"),
        proc_root: Path = Path("/proc"),
        environment: Mapping[str, str] | None = None,
        longest: int = _LINE,
    ) -> None:
        roots = (str(root) for root in (sys_root, dev_root, proc_root))
        self._words = (sys.executable, "-m", "ogpu_provider.scheduler.surveyor", vendor, *roots)
        self._vendor = vendor
        self._clock = clock
        self._deadline = deadline
        self._environment = environment
        self._longest = longest
        self._process: asyncio.subprocess.Process | None = None
        self._given_up: list[asyncio.subprocess.Process] = []
        self._last = Reading()
        self._failures = 0
        self._not_before = 0.0
        self.starts = 0

    async def read(self) -> Reading:
        """What the driver says now. Never raises: a driver that does not answer is a problem of the reading."""
        if self._process is None and self._clock.monotonic() < self._not_before:
            return self._last
        try:
            async with asyncio.timeout(self._deadline):
                self._last = await self._ask()
        except TimeoutError:
            self._fail("gpu.driver_hangs", f"the {self._vendor} driver did not answer within {self._deadline:g} s")
        except (OSError, ValueError, TypeError, KeyError, EOFError, asyncio.LimitOverrunError) as error:
            how = f"{type(error).__name__}" if self._process is None else "the process that asked it ended"
            self._fail("gpu.driver_crashed", f"the {self._vendor} driver gave no answer: {how}")
        else:
            self._failures = 0
        return self._last

    async def aclose(self) -> None:
        """End the process; one that is stuck in the kernel is left to it."""
        self._give_up()
        await asyncio.gather(*(_read_out(process) for process in self._given_up))
        self._given_up.clear()

    async def _ask(self) -> Reading:
        process = self._process or await self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        await process.stdin.drain()
        line = await process.stdout.readuntil(b"\n")
        return parsed(json.loads(line))

    async def _start(self) -> asyncio.subprocess.Process:
        self.starts += 1
        self._given_up = [process for process in self._given_up if process.returncode is None]
        self._process = await asyncio.create_subprocess_exec(
            *self._words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=self._longest,
            env=None if self._environment is None else dict(self._environment),
        )
        return self._process

    def _fail(self, code: str, text: str) -> None:
        """The devices stay known, so that nothing on them is taken for gone, and take no new work."""
        self._give_up()
        reason = Reason(code, text)
        if not any(problem.code == code for problem in self._last.problems):
            log.warning("driver_unanswered", vendor=self._vendor, code=code, reason=text)
        found = tuple(
            replace(each, device=replace(each.device, withheld=(reason,)), xids=()) for each in self._last.found
        )
        self._last = Reading(found, (reason,), self._last.driver)
        self._not_before = self._clock.monotonic() + min(PAUSE_S * 2**self._failures, PAUSE_MAX_S)
        self._failures += 1

    def _give_up(self) -> None:
        """It is not waited for: one that is stuck in the kernel may never end."""
        process, self._process = self._process, None
        if process is None:
            return
        self._given_up.append(process)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, 9)


async def _read_out(process: asyncio.subprocess.Process) -> None:
    """To the end of its pipes, which outlive it otherwise; one that is stuck in the kernel keeps them."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await process.communicate()
