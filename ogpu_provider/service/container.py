"""Entry of the container image: finds or starts a container engine, then runs the daemon as its own user.

    host's engine   the engine's socket is mounted: containers are the host's, and outlive this one
    own engine      the container is privileged: dockerd runs in here, on overlay2 or fuse-overlayfs, never on vfs
                    (vfs copies whole images for each container: the disk is full before anything is earned)

    python -m ogpu_provider.service.container boot|exec WORDS...

`boot` is the entrypoint; `exec` is what the name `ogpu-provider` means in the image, so that a shell of root makes no
files of root. Plain blocking calls: this process waits for two children and does nothing else.
"""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ogpu_provider import environment

USER = "ogpu"
PROGRAM = Path(sys.executable).with_name("ogpu-provider")
DATA = Path("/var/lib/ogpu-provider")
ENGINE_DATA = Path("/var/lib/docker")
SOCKET = Path("/var/run/docker.sock")
SECRET = Path("/run/secrets/keystore-password")
PASSWORD_FD = environment.PREFIX + "WALLET__PASSWORD_FD"
NEEDS_ENGINE = frozenset({"run", "demo", "doctor", "register"})
ENGINE_START_S = 60.0
ENGINE_STOP_S = 30.0
REFUSAL = (
    "there is no container engine here, and this container may not run its own: mount the host's engine socket "
    "(-v /var/run/docker.sock:/var/run/docker.sock, with --network host), or start it with --privileged"
)
NO_STORAGE = (
    f"neither overlay nor fuse-overlayfs works under {ENGINE_DATA}, and the engine is not run on vfs: mount a volume "
    f"there (-v ogpu-engine:{ENGINE_DATA}), or the host's engine socket instead"
)


class Refused(Exception):
    """Why the container cannot serve, in one sentence."""


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


def storage_driver(overlay: Callable[[], bool], fuse: Callable[[], bool]) -> str:
    """The first that works. Raises Refused: vfs is no answer."""
    if overlay():
        return "overlay2"
    if fuse():
        return "fuse-overlayfs"
    raise Refused(NO_STORAGE)


def read_only_cgroups(mounts: str) -> list[str]:
    """Mount points of control groups that containers could not be put into."""
    lines = [line.split() for line in mounts.splitlines()]
    return [words[1] for words in lines if words[2] in ("cgroup", "cgroup2") and "ro" in words[3].split(",")]


def _become(words: list[str], *, as_user: bool) -> NoReturn:
    variables = environment.inherited(_secret())
    if as_user:
        uid, gid, groups = _user()
        variables["HOME"] = str(DATA)
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)
    os.execve(PROGRAM, [str(PROGRAM), *words], variables)  # noqa: S606


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
    driver = _prepare()
    engine = subprocess.Popen(
        ["dockerd", "--storage-driver", driver, "--group", USER, "--host", f"unix://{SOCKET}", "--log-level", "warn"],
        start_new_session=True,
    )
    try:
        _await_engine(engine)
        uid, gid, groups = _user()
        secret = _secret()
        daemon = subprocess.Popen(
            [str(PROGRAM), *words],
            env=environment.inherited({**secret, "HOME": str(DATA)}),
            pass_fds=[int(number) for number in secret.values()],
            user=uid,
            group=gid,
            extra_groups=groups,
        )
        return _attend(daemon, engine)
    finally:
        _end(engine, ENGINE_STOP_S)


def _prepare() -> str:
    """Make the container fit for an engine. Returns the storage driver; raises Refused."""
    if not _mounts(["-t", "tmpfs", "tmpfs"]):
        raise Refused(REFUSAL)
    ENGINE_DATA.mkdir(parents=True, exist_ok=True)
    driver = storage_driver(_overlay_works, _fuse_works)
    for left in (*Path("/run").glob("docker*.pid"), *Path("/run/docker").glob("**/*.pid"), SOCKET):
        left.unlink(missing_ok=True)
    for mount in read_only_cgroups(Path("/proc/mounts").read_text()):
        _quietly("mount", "-o", "remount,bind,rw", mount)
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        _nest(Path("/sys/fs/cgroup"))
    if not _quietly("iptables", "-nL") and _quietly("iptables-legacy", "-nL"):
        _quietly("update-alternatives", "--set", "iptables", shutil.which("iptables-legacy") or "")
    if shutil.which("nvidia-ctk"):
        _quietly("nvidia-ctk", "runtime", "configure", "--runtime=docker")
    return driver


def _nest(root: Path) -> None:
    """Control groups, version 2: a group with processes has no children with controllers, so move out of the root."""
    inner = root / "init"
    inner.mkdir(exist_ok=True)
    for pid in (root / "cgroup.procs").read_text().split():
        try:
            (inner / "cgroup.procs").write_text(pid)
        except OSError:  # ended meanwhile, or the kernel's own
            continue
    controllers = (root / "cgroup.controllers").read_text().split()
    (root / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def _overlay_works() -> bool:
    with tempfile.TemporaryDirectory(dir=ENGINE_DATA, prefix=".probe-") as work:
        folders = {name: Path(work, name) for name in ("lower", "upper", "inner")}
        for folder in folders.values():
            folder.mkdir()
        layers = f"lowerdir={folders['lower']},upperdir={folders['upper']},workdir={folders['inner']}"
        return _mounts(["-t", "overlay", "overlay", "-o", layers])


def _fuse_works() -> bool:
    node = Path("/dev/fuse")
    return node.exists() and stat.S_ISCHR(node.stat().st_mode) and shutil.which("fuse-overlayfs") is not None


def _mounts(arguments: list[str]) -> bool:
    with tempfile.TemporaryDirectory(prefix="probe-") as target:
        if not _quietly("mount", *arguments, target):
            return False
        return _quietly("umount", target)


def _quietly(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _await_engine(engine: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + ENGINE_START_S
    while not _quietly("docker", "--host", f"unix://{SOCKET}", "version"):
        if engine.poll() is not None:
            raise Refused(f"the inner engine ended with {engine.returncode}; its last lines are above. {REFUSAL}")
        if time.monotonic() > end:
            raise Refused(f"the inner engine does not answer after {ENGINE_START_S:.0f} s")
        time.sleep(0.2)


def _attend(daemon: "subprocess.Popen[bytes]", engine: "subprocess.Popen[bytes]") -> int:
    """Pass signals on and bury the dead until the daemon ends; it ends with its engine."""

    def forward(number: int, frame: FrameType | None) -> None:
        if daemon.poll() is None:
            daemon.send_signal(number)

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
            _end(daemon, ENGINE_STOP_S)
            return 1


def _end(process: "subprocess.Popen[bytes]", patience: float) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
