"""A process that has the command line imported and forks a child for each command, which saves its start.

The children are processes of their own, with arguments, environment, terminal, signals and exit code; importing is
all that they share. It ends when the test that started it ends.
"""

import fcntl
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, Self

from ogpu_provider.cli.main import main
from ogpu_provider.domain import killpoints

LIMIT = 1 << 18


@dataclass
class Child:
    """`returncode` as of `subprocess`: None while it runs, -N if signal N ended it."""

    pid: int
    status: socket.socket
    returncode: int | None = None

    def poll(self) -> int | None:
        return self._look(0.0)

    def wait(self, timeout: float = 120.0) -> int:
        code = self._look(timeout)
        assert code is not None, f"process {self.pid} did not end in {timeout:.0f} s"
        return code

    def signal(self, number: signal.Signals) -> None:
        """AssertionError if it has ended already."""
        assert self.poll() is None, f"process {self.pid} has ended with {self.returncode}"
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Whatever it does; nothing if it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def _look(self, timeout: float) -> int | None:
        if self.returncode is None:
            self.status.settimeout(timeout)
            try:
                self.returncode = int(self.status.recv(64))
            except (TimeoutError, BlockingIOError):
                return None
            self.status.close()
        return self.returncode


class Nursery:
    """`with Nursery() as nursery: nursery.start(["config", "show"], ...)`."""

    def __enter__(self) -> Self:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.onboarding.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._requests.close()
        self._process.wait(timeout=120)

    def start(
        self,
        words: Sequence[str],
        files: tuple[int, int, int],
        *,
        environ: Mapping[str, str] | None = None,
        point: str = "",
        number: int = signal.SIGKILL,
        fresh: bool = False,
    ) -> Child:
        """`files`: descriptors for standard input, output and error; a terminal as the first becomes the child's own.

        `environ`: on top of this process's. `point`: the kill point at which the child sends itself signal `number`.
        `fresh`: in a new interpreter, as from a shell.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request: dict[str, Any] = {"words": list(words), "environ": {**os.environ, **(environ or {})}}
        request |= {"point": point, "number": int(number), "fresh": fresh}
        with theirs:
            socket.send_fds(self._requests, [json.dumps(request).encode()], [theirs.fileno(), *files])
        ours.settimeout(60.0)
        return Child(int(ours.recv(64)), ours)


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork a minder for each request, which forks the child, waits for it and tells its end.

    Returns the request in the child, and nothing when there are no more requests.
    """
    minders: set[int] = set()
    while True:
        body, descriptors, _, _ = socket.recv_fds(requests, LIMIT, 4)
        minders = {pid for pid in minders if not os.waitpid(pid, os.WNOHANG)[0]}
        if not body:
            return None
        minder = os.fork()
        if minder == 0:
            requests.close()
            if pid := os.fork():
                _mind(pid, *descriptors)
            found: dict[str, Any] = json.loads(body)
            _become(found, *descriptors)
            return found
        minders.add(minder)
        for descriptor in descriptors:
            os.close(descriptor)


def _mind(pid: int, status: int, *files: int) -> NoReturn:
    for descriptor in (0, 1, 2, *files):
        os.close(descriptor)
    os.write(status, str(pid).encode())
    _, ended = os.waitpid(pid, 0)
    os.write(status, str(os.waitstatus_to_exitcode(ended)).encode())
    os._exit(0)


def _become(request: dict[str, Any], status: int, *files: int) -> None:
    """What a person's shell would have given the child. SIGINT in particular: a shell without job control, CI's for
    one, starts what it runs in the background with SIGINT ignored, and that is inherited."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which becomes the default one through exec
    os.close(status)
    os.setsid()
    for wanted, descriptor in enumerate(files):
        os.dup2(descriptor, wanted)
        os.close(descriptor)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.environ.clear()
    os.environ.update(request["environ"])
    if request["fresh"]:
        os.execv(sys.executable, [sys.executable, "-m", "ogpu_provider.cli.main", *request["words"]])
    sys.stdin = os.fdopen(0, "r", encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", 1 if os.isatty(1) else -1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.argv = ["ogpu-provider", *request["words"]]
    number = request["number"]
    killpoints.arm(request["point"], lambda: os.kill(os.getpid(), number))


def _preload() -> None:
    import web3  # noqa: F401

    import ogpu_provider.doctor.examination
    import ogpu_provider.onboarding.steps
    import ogpu_provider.onboarding.vault
    import ogpu_provider.telemetry  # noqa: F401

    gc.freeze()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as it is in the worst case
    _preload()
    if serve(socket.socket(fileno=int(sys.argv[1]))) is not None:
        main()
