"""Socket activation: listening sockets that the service manager opened and keeps open (`man 3 sd_listen_fds`)."""

import os
import socket
from collections.abc import Iterable

from ogpu_provider.domain.errors import ConfigError


def listener(descriptors: Iterable[int]) -> socket.socket | None:
    """The one listening TCP socket among inherited `descriptors`; None if none were inherited.

    It is kept from child processes. Raises ConfigError (`service.sockets`) for anything but one such socket.
    """
    numbers = tuple(descriptors)
    if not numbers:
        return None
    for number in numbers:
        os.set_inheritable(number, False)
    found = _listening(numbers[0]) if len(numbers) == 1 else None
    if found is None:
        raise ConfigError(
            f"the service manager passed {len(numbers)} descriptors; one listening TCP socket was expected",
            code="service.sockets",
            remedy="`ogpu-provider service install` writes a socket unit that fits",
        )
    return found


def _listening(descriptor: int) -> socket.socket | None:
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        return None
    good = (
        found.family in (socket.AF_INET, socket.AF_INET6)
        and found.type == socket.SOCK_STREAM
        and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )
    if not good:
        found.detach()
        return None
    return found
