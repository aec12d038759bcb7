import pytest

from ogpu_provider.service.container import host_socket

MOUNTED = "612 590 0:24 /docker.sock /run/docker.sock rw,nosuid - tmpfs tmpfs rw\n"
ELSEWHERE = "612 590 0:24 / /run rw,nosuid - tmpfs tmpfs rw\n613 590 8:1 /x /data/docker.sock rw - ext4 /dev/sda rw\n"


@pytest.mark.parametrize("path", ["/run/docker.sock", "/var/run/docker.sock"])
def test_the_hosts_socket_is_one_that_is_mounted(path: str) -> None:
    assert host_socket(ELSEWHERE + MOUNTED.replace("/run/docker.sock", path))


def test_a_socket_that_merely_lies_there_may_be_our_own_engines_of_before() -> None:
    assert not host_socket(ELSEWHERE)
