"""A container engine of the container's own: what it needs of the kernel, the storage that works, and its process.

may mount? ──no──▶ Refused          which storage works, tried by a mount:
    │yes                              overlay2 ──else──▶ fuse-overlayfs ──else──▶ Refused; never vfs
    ▼                               (vfs copies whole images for each container: the disk is full before
control groups writable, nested      anything is earned)
    ▼
dockerd on the first storage; one that it refuses ──▶ on the next
"""

import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ENGINE_DATA = Path("/var/lib/docker")
SOCKET = Path("/var/run/docker.sock")
START_S = 60.0
STOP_S = 30.0
REFUSAL = (
    "there is no container engine here, and this container may not run its own: mount the host's engine socket "
    "(-v /var/run/docker.sock:/var/run/docker.sock, with --network host), or start it with --privileged"
)
NO_STORAGE = (
    f"neither overlay nor fuse-overlayfs works under {ENGINE_DATA}, and the engine is not run on vfs: mount a volume "
    f"there (-v ogpu-engine:{ENGINE_DATA}) or give the container --device /dev/fuse; or mount the host's engine socket"
)

Process = subprocess.Popen[bytes]


class Refused(Exception):
    """Why the container cannot serve, in one sentence."""


def went_well(*command: str) -> bool:
    """Whether a command exists and ends with 0 within half a minute. It says nothing itself."""
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@dataclass(frozen=True, slots=True)
class System:
    """The container's system: `run` tries a command, `which` finds a program, `root` holds proc, sys and run."""

    run: Callable[..., bool] = went_well
    which: Callable[[str], str | None] = shutil.which
    root: Path = Path("/")


def prepare(system: System) -> list[str]:
    """Make the container fit for an engine. Returns the storage drivers that work, best first; raises Refused."""
    if not _mounts(system, "-t", "tmpfs", "tmpfs"):
        raise Refused(REFUSAL)
    drivers = storage_drivers(system)
    _sweep(system.root)
    for mount in read_only_cgroups((system.root / "proc/mounts").read_text()):
        system.run("mount", "-o", "remount,bind,rw", mount)
    groups = system.root / "sys/fs/cgroup"
    if (groups / "cgroup.controllers").exists():
        nest(groups)
    legacy = system.which("iptables-legacy")
    if legacy and not system.run("iptables", "-nL") and system.run("iptables-legacy", "-nL"):
        system.run("update-alternatives", "--set", "iptables", legacy)
    if system.which("nvidia-ctk"):
        system.run("nvidia-ctk", "runtime", "configure", "--runtime=docker")
    return drivers


def storage_drivers(system: System) -> list[str]:
    """Those that work here, best first. Raises Refused if there is none: vfs is no answer."""
    tried = (("overlay2", _overlay_works), ("fuse-overlayfs", _fuse_works))
    found = [name for name, works in tried if works(system)]
    if not found:
        raise Refused(NO_STORAGE)
    return found


def read_only_cgroups(mounts: str) -> list[str]:
    """Mount points of control groups that containers could not be put into."""
    lines = [line.split() for line in mounts.splitlines()]
    return [words[1] for words in lines if words[2] in ("cgroup", "cgroup2") and "ro" in words[3].split(",")]


def nest(root: Path) -> None:
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


def start(
    drivers: Sequence[str], launch: Callable[[str], Process], answers: Callable[[], bool], patience: float = START_S
) -> Process:
    """The engine, answering, on the first of `drivers` that it takes. Raises Refused; nothing is left running then."""
    for driver in drivers:
        engine = launch(driver)
        try:
            if _answered(engine, answers, patience):
                return engine
        except BaseException:
            end(engine, STOP_S)
            raise
    raise Refused(f"the inner engine ended with {engine.returncode}; its last lines are above. {REFUSAL}")


def launch(driver: str, group: str) -> Process:
    """dockerd, which `group` may command. It stands in a session of its own: Ctrl-C is the daemon's."""
    words = ["--storage-driver", driver, "--group", group, "--host", f"unix://{SOCKET}", "--log-level", "warn"]
    return subprocess.Popen(["dockerd", *words], start_new_session=True)


def answers() -> bool:
    return went_well("docker", "--host", f"unix://{SOCKET}", "version")


def end(process: Process, patience: float) -> None:
    """SIGTERM, and after `patience` seconds SIGKILL."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answered(engine: Process, answers: Callable[[], bool], patience: float) -> bool:
    """Whether the engine answers; False if it ended. Raises Refused if it does neither."""
    give_up = time.monotonic() + patience
    while not answers():
        if engine.poll() is not None:
            return False
        if time.monotonic() > give_up:
            raise Refused(f"the inner engine does not answer after {patience:.0f} s; its last lines are above")
        time.sleep(0.2)
    return True


def _sweep(root: Path) -> None:
    """What an engine of before left: its numbers may belong to other processes now."""
    run = root / "run"
    for left in (*run.glob("docker*.pid"), *(run / "docker").glob("**/*.pid"), run / "docker.sock"):
        left.unlink(missing_ok=True)


def _overlay_works(system: System) -> bool:
    place = system.root / ENGINE_DATA.relative_to("/")
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=".probe-") as work:
        folders = {name: Path(work, name) for name in ("lower", "upper", "inner")}
        for folder in folders.values():
            folder.mkdir()
        layers = f"lowerdir={folders['lower']},upperdir={folders['upper']},workdir={folders['inner']}"
        return _mounts(system, "-t", "overlay", "overlay", "-o", layers)


def _fuse_works(system: System) -> bool:
    node = system.root / "dev/fuse"
    return node.exists() and stat.S_ISCHR(node.stat().st_mode) and system.which("fuse-overlayfs") is not None


def _mounts(system: System, *arguments: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="probe-") as target:
        if not system.run("mount", *arguments, target):
            return False
        return system.run("umount", target)
