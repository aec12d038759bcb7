import socket
from pathlib import Path

import pytest

from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.environment import ServiceManager, others, take_service_manager
from ogpu_provider.service.activation import listener
from ogpu_provider.service.notify import Notifier


def test_messages_reach_the_manager(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        notifier = Notifier(str(tmp_path / "notify"))
        notifier.ready("serving\nREADY=0 as 0xabc")
        notifier.alive()
        notifier.stopping()
        assert manager.recv(4096) == b"READY=1\nSTATUS=serving READY=0 as 0xabc", "a status cannot add a message"
        assert manager.recv(4096) == b"WATCHDOG=1"
        assert manager.recv(4096) == b"STOPPING=1"


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0ogpu-provider-test-notify")
        Notifier("@ogpu-provider-test-notify").alive()
        assert manager.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody-listens-here"])
def test_nobody_there_is_no_error(address: str) -> None:
    Notifier(address).ready("well")


def test_the_managers_variables_are_taken_out_of_the_environment() -> None:
    environ = {
        "NOTIFY_SOCKET": "/run/notify",
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": "7",
        "LISTEN_FDS": "1",
        "LISTEN_PID": "7",
        "LISTEN_FDNAMES": "results",
        "HOME": "/",
    }
    assert take_service_manager(environ, pid=7) == ServiceManager("/run/notify", 30.0, (3,))
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1", "LISTEN_PID": "8"},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "-1", "LISTEN_PID": "7"},
        {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "8"},
        {"WATCHDOG_USEC": "soon"},
    ],
)
def test_what_is_meant_for_another_process_is_not_ours(environ: dict[str, str]) -> None:
    assert take_service_manager(environ, pid=7) == ServiceManager()


def test_a_listening_socket_is_taken_over_and_kept_from_children() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        inherited = held.dup()
        number = inherited.detach()
        found = listener([number])
        assert found is not None
        with found:
            assert found.getsockname() == held.getsockname()
            assert not found.get_inheritable()


def test_without_descriptors_there_is_no_listener() -> None:
    assert listener(()) is None


def test_another_kind_of_socket_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, pytest.raises(ConfigError) as refused:
        listener([datagrams.fileno()])
    assert refused.value.code == "service.sockets"


def test_another_daemon_is_started_without_the_operators_settings() -> None:
    assert others({"OGPU_PROVIDER_DATA_DIR": "/var/lib/x", "PATH": "/bin"}) == {"PATH": "/bin"}
