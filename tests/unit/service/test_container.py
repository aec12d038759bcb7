import pytest

from ogpu_provider.service.container import Refused, host_socket, read_only_cgroups, storage_driver

MOUNTED = "612 590 0:24 /docker.sock /run/docker.sock rw,nosuid - tmpfs tmpfs rw\n"
ELSEWHERE = "612 590 0:24 / /run rw,nosuid - tmpfs tmpfs rw\n613 590 8:1 /x /data/docker.sock rw - ext4 /dev/sda rw\n"


def test_the_hosts_socket_is_one_that_is_mounted() -> None:
    assert host_socket(ELSEWHERE + MOUNTED)
    assert host_socket(MOUNTED.replace(" /run/docker.sock", " /var/run/docker.sock"))
    assert not host_socket(ELSEWHERE), "one that lies there may be our own engine's of before"


@pytest.mark.parametrize(
    ("overlay", "fuse", "driver"),
    [(True, True, "overlay2"), (True, False, "overlay2"), (False, True, "fuse-overlayfs")],
)
def test_the_storage_driver_is_the_best_that_works(overlay: bool, fuse: bool, driver: str) -> None:
    assert storage_driver(lambda: overlay, lambda: fuse) == driver


def test_vfs_is_never_chosen() -> None:
    with pytest.raises(Refused, match="not run on vfs"):
        storage_driver(lambda: False, lambda: False)


def test_control_groups_that_cannot_be_written_are_found() -> None:
    mounts = (
        "tmpfs /sys/fs/cgroup tmpfs rw,nosuid 0 0\n"
        "cgroup /sys/fs/cgroup/pids cgroup ro,nosuid,pids 0 0\n"
        "cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 ro,nosuid 0 0\n"
        "proc /proc proc ro 0 0\n"
    )
    assert read_only_cgroups(mounts) == ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"]
