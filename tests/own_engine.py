"""A second engine beside the host's: a dockerd of the test's own in a network namespace of its own.

In the namespace of the first one it would flush that one's chains. There is no route out of this one.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

_CLONE_NEWNET = 0x40000000
_START_S = 60.0


def missing_part(*programs: str) -> str:
    """Why there can be no second engine here; empty if there can."""
    if os.geteuid() != 0:
        return "an engine of the test's own needs root"
    absent = [program for program in ("dockerd", "ip", *programs) if shutil.which(program) is None]
    return f"not installed: {', '.join(absent)} (scripts/engine start installs them)" if absent else ""


def need(*programs: str) -> None:
    if reason := missing_part(*programs):
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


class OwnEngine:
    """`arguments` go to dockerd. `folder` must lie on a file system that overlays can be made of.

    `prefix`: words before dockerd, of a program that becomes it; `environment`: variables beside this process's.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str] = (),
        *,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.socket = f"unix://{folder}/docker.sock"
        self._log = folder / "dockerd.log"
        self._environment = {**os.environ, **(environment or {})}
        self._words = [
            *(*prefix, "dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
            *("--pidfile", str(folder / "dockerd.pid"), "--host", self.socket, "--bip", "10.199.78.1/24"),
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._environment
            )
        give_up = time.monotonic() + _START_S
        ask = ("docker", "--host", self.socket, "info")
        while subprocess.run(ask, capture_output=True, check=False).returncode:
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < give_up, self._log.read_text()[-2000:]
            time.sleep(0.1)

    def freeze(self) -> None:
        """It hangs: takes connections, answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None


class Podman(OwnEngine):
    """Podman's service, which speaks dockerd's language; all that it keeps lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        registries = folder / "registries.conf"
        registries.write_text('[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n')  # as dockerd takes loopback
        own = {"CONTAINERS_REGISTRIES_CONF": str(registries), "TMPDIR": str(folder)}
        super().__init__(folder, environment=own)
        self._log = folder / "podman.log"
        places = ("--root", str(folder / "data"), "--runroot", str(folder / "run"), "--tmpdir", str(folder / "tmp"))
        networks = folder / "networks"
        networks.mkdir()
        self._words = [
            *("podman", *places, "--network-config-dir", str(networks), "--cgroup-manager", "cgroupfs"),
            *("--events-backend", "file", "system", "service", "--time", "0", self.socket),
        ]


@contextmanager
def namespace() -> Iterator[None]:
    """This thread, its children and the threads that it starts live in a new network namespace meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    with ExitStack() as stack:
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, before)
        assert libc.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        stack.callback(libc.setns, before, _CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
