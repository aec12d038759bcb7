"""Every way that a container may be unfit for an engine of its own, or fit for it in another manner."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ogpu_provider.service import inner_engine
from ogpu_provider.service.inner_engine import Process, Refused, System


@dataclass
class Container:
    """A container's file tree, and what its kernel lets it do."""

    root: Path
    may_mount: bool = True
    overlay: bool = True
    programs: set[str] = field(default_factory=lambda: {"iptables-legacy", "fuse-overlayfs"})
    failing: set[str] = field(default_factory=set)
    ran: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in ("proc", "run/docker/containerd", "dev", "sys/fs/cgroup", "var/lib/docker"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "proc/mounts").write_text("proc /proc proc ro 0 0\n")

    def run(self, *command: str) -> bool:
        self.ran.append(" ".join(command))
        if command[0] == "mount" and "overlay" in command:
            return self.overlay
        if command[0] == "mount":
            return self.may_mount
        return command[0] not in self.failing

    def which(self, program: str) -> str | None:
        return f"/usr/sbin/{program}" if program in self.programs else None

    def with_fuse(self) -> None:
        (self.root / "dev/fuse").symlink_to("/dev/null")  # a character device

    @property
    def system(self) -> System:
        return System(self.run, self.which, self.root)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_a_container_that_may_not_mount_is_told_how_to_be_started(container: Container) -> None:
    container.may_mount = False
    with pytest.raises(Refused, match="--privileged") as refused:
        inner_engine.prepare(container.system)
    assert "docker.sock" in str(refused.value)
    assert len(container.ran) == 1, "nothing is changed"


@pytest.mark.parametrize(
    ("overlay", "device", "program", "drivers"),
    [
        (True, True, True, ["overlay2", "fuse-overlayfs"]),
        (True, False, True, ["overlay2"]),
        (False, True, True, ["fuse-overlayfs"]),
    ],
)
def test_storage_is_what_works_best_first(
    container: Container, overlay: bool, device: bool, program: bool, drivers: list[str]
) -> None:
    container.overlay = overlay
    if device:
        container.with_fuse()
    assert inner_engine.prepare(container.system) == drivers


@pytest.mark.parametrize(("device", "program"), [(False, True), (True, False), (False, False)])
def test_vfs_is_never_chosen(container: Container, device: bool, program: bool) -> None:
    container.overlay = False
    if device:
        container.with_fuse()
    if not program:
        container.programs.remove("fuse-overlayfs")
    with pytest.raises(Refused, match="not run on vfs"):
        inner_engine.prepare(container.system)


def test_a_plain_file_is_no_fuse_device(container: Container) -> None:
    container.overlay = False
    (container.root / "dev/fuse").touch()
    with pytest.raises(Refused):
        inner_engine.prepare(container.system)


def test_the_overlay_is_tried_where_the_engine_will_lie(container: Container) -> None:
    inner_engine.prepare(container.system)
    tried = next(line for line in container.ran if " overlay " in line)
    assert f"upperdir={container.root}/var/lib/docker/.probe-" in tried
    assert list((container.root / "var/lib/docker").iterdir()) == [], "and nothing is left of it"


def test_control_groups_of_version_1_are_made_writable(container: Container) -> None:
    (container.root / "proc/mounts").write_text(
        "tmpfs /sys/fs/cgroup tmpfs rw,nosuid 0 0\n"
        "cgroup /sys/fs/cgroup/pids cgroup ro,nosuid,pids 0 0\n"
        "cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 ro,nosuid 0 0\n"
        "proc /proc proc ro 0 0\n"
    )
    inner_engine.prepare(container.system)
    remounted = [line.split()[-1] for line in container.ran if "remount" in line]
    assert remounted == ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"]
    assert not (container.root / "sys/fs/cgroup/init").exists()


def test_control_groups_of_version_2_get_room_for_the_engines(container: Container) -> None:
    groups = container.root / "sys/fs/cgroup"
    (groups / "cgroup.controllers").write_text("cpu io memory pids\n")
    (groups / "cgroup.procs").write_text("1\n7\n")
    (groups / "cgroup.subtree_control").write_text("")
    inner_engine.prepare(container.system)
    assert (groups / "init/cgroup.procs").read_text() == "7", "one after the other, as the kernel takes them"
    assert (groups / "cgroup.subtree_control").read_text() == "+cpu +io +memory +pids"


@pytest.mark.parametrize(
    ("failing", "switched"), [(set(), False), ({"iptables"}, True), ({"iptables", "iptables-legacy"}, False)]
)
def test_the_firewall_tool_is_the_one_that_the_kernel_takes(
    container: Container, failing: set[str], switched: bool
) -> None:
    container.failing = failing
    inner_engine.prepare(container.system)
    assert ("update-alternatives --set iptables /usr/sbin/iptables-legacy" in container.ran) is switched


def test_nvidias_runtime_is_set_up_where_its_tool_is(container: Container) -> None:
    inner_engine.prepare(container.system)
    assert not any(line.startswith("nvidia") for line in container.ran)
    container.programs.add("nvidia-ctk")
    inner_engine.prepare(container.system)
    assert "nvidia-ctk runtime configure --runtime=docker" in container.ran


def test_what_an_engine_of_before_left_is_swept_away(container: Container) -> None:
    left = ["run/docker.pid", "run/docker.sock", "run/docker/containerd/containerd.pid"]
    for name in left:
        (container.root / name).touch()
    inner_engine.prepare(container.system)
    assert not any((container.root / name).exists() for name in left)


def engine_that(works_on: str, started: list[str]) -> Callable[[str], Process]:
    """Stands in for dockerd: runs on one driver, ends at once on others."""

    def launch(driver: str) -> Process:
        started.append(driver)
        program = "import time; time.sleep(600)" if driver == works_on else "raise SystemExit(1)"
        return subprocess.Popen([sys.executable, "-c", program])

    return launch


def answering(started: list[str], driver: str) -> Callable[[], bool]:
    return lambda: started[-1] == driver


def test_an_engine_that_refuses_a_storage_is_started_on_the_next() -> None:
    started: list[str] = []
    launch = engine_that("fuse-overlayfs", started)
    engine = inner_engine.start(["overlay2", "fuse-overlayfs"], launch, answering(started, "fuse-overlayfs"))
    try:
        assert started == ["overlay2", "fuse-overlayfs"]
        assert engine.poll() is None
    finally:
        inner_engine.end(engine, 5)


def test_an_engine_that_runs_on_nothing_is_refused_with_the_way_out() -> None:
    started: list[str] = []
    with pytest.raises(Refused, match=r"ended with 1.*--privileged"):
        inner_engine.start(["overlay2"], engine_that("none", started), lambda: False)


def test_an_engine_that_never_answers_is_ended() -> None:
    made: list[Process] = []

    def launch(driver: str) -> Process:
        made.append(engine_that("overlay2", [])(driver))
        return made[-1]

    with pytest.raises(Refused, match="does not answer"):
        inner_engine.start(["overlay2"], launch, lambda: False, patience=0.3)
    assert made[0].returncode is not None
