"""Entry of the container image: finds or starts a container engine, then runs the daemon as its own user.

    host's engine   the engine's socket is mounted: containers are the host's, and outlive this one
    own engine      the container is privileged: dockerd runs in here (inner_engine.py)

    python -m ogpu_provider.service.container boot|exec WORDS...

`boot` is the entrypoint; `exec` is what the name `ogpu-provider` means in the image, so that a shell of root makes no
files of root. Plain blocking calls: this process waits for two children and does nothing else.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ogpu_provider import environment
from ogpu_provider.service import inner_engine, privileges
from ogpu_provider.service.inner_engine import SOCKET, STOP_S, Process, Refused

USER = "ogpu"
PROGRAM = Path(sys.executable).with_name("ogpu-provider")
DATA = Path("/var/lib/ogpu-provider")
SECRET = Path("/run/secrets/keystore-password")
LOCK = Path("/run/xtables.lock")
PASSWORD_FD = environment.PREFIX + "WALLET__PASSWORD_FD"
NEEDS_ENGINE = frozenset({"run", "demo", "doctor", "register"})


def main(words: Sequence[str]) -> int:
    role, rest = (words[0], list(words[1:])) if words else ("boot", [])
    rest = rest or ["run"]
    try:
        if os.geteuid() != 0 or role == "exec":
            _become(rest, as_user=os.geteuid() == 0)
        _own_data()
        if host_socket(Path("/proc/self/mountinfo").read_text()) or rest[0] not in NEEDS_ENGINE:
            _become(rest, as_user=True)
        return _with_own_engine(rest)
    except Refused as refusal:
        print(f"error [container.no_engine]: {refusal}", file=sys.stderr)
        return 2


def host_socket(mountinfo: str) -> bool:
    """Whether the engine's socket is mounted. A socket that lies there may be left by our own engine of before."""
    return any(line.split()[4] in ("/var/run/docker.sock", "/run/docker.sock") for line in mountinfo.splitlines())


def _become(words: list[str], *, as_user: bool) -> NoReturn:
    variables = environment.inherited(_secret())
    if as_user:
        uid, gid, groups = _user()
        variables["HOME"] = str(DATA)
        _share_lock(gid)
        privileges.become(uid, gid, groups)
    os.execve(PROGRAM, [str(PROGRAM), *words], variables)  # noqa: S606


def _share_lock(gid: int) -> None:
    """iptables of the older kind takes this lock, and its file is root's."""
    LOCK.touch(mode=0o640)
    os.chown(LOCK, -1, gid)
    LOCK.chmod(0o640)


def _user() -> tuple[int, int, list[int]]:
    """The daemon's user, its group, and the groups that open the engine's socket and the AMD nodes."""
    import pwd

    entry = pwd.getpwnam(USER)
    places = [SOCKET, Path("/dev/kfd"), *sorted(Path("/dev/dri").glob("renderD*"))]
    groups = {place.stat().st_gid for place in places if place.exists()}
    return entry.pw_uid, entry.pw_gid, sorted({entry.pw_gid, *groups})


def _secret() -> dict[str, str]:
    """The password's file is root's; its content goes on as an open descriptor of memory."""
    if not os.access(SECRET, os.R_OK):
        return {}
    descriptor = os.memfd_create("keystore-password", 0)  # inherited on purpose
    os.write(descriptor, SECRET.read_bytes())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return {PASSWORD_FD: str(descriptor)}


def _own_data() -> None:
    DATA.mkdir(parents=True, exist_ok=True, mode=0o700)
    uid, gid, _ = _user()
    if DATA.stat().st_uid == 0:  # a fresh directory of the host
        os.chown(DATA, uid, gid)


def _with_own_engine(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, _leave)  # until there is a daemon to pass it on to
    drivers = inner_engine.prepare(inner_engine.System())
    engine = inner_engine.start(drivers, partial(inner_engine.launch, group=USER), inner_engine.answers)
    try:
        daemon = subprocess.Popen([sys.executable, "-m", __spec__.name, "exec", *words])
        return _attend(daemon, engine)
    finally:
        inner_engine.end(engine, STOP_S)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _attend(daemon: Process, engine: Process) -> int:
    """Pass signals on and bury the dead until the daemon ends; it ends with its engine."""

    def forward(number: int, frame: FrameType | None) -> None:
        if daemon.returncode is None:  # not buried yet: the number is still its own
            os.kill(daemon.pid, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    while True:
        pid, status = os.wait()
        if pid == daemon.pid:
            daemon.returncode = os.waitstatus_to_exitcode(status)
            return daemon.returncode if daemon.returncode >= 0 else 128 - daemon.returncode
        if pid == engine.pid:
            engine.returncode = os.waitstatus_to_exitcode(status)
            print(f"error [container.engine_ended]: the inner engine ended with {engine.returncode}", file=sys.stderr)
            inner_engine.end(daemon, STOP_S)
            return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
