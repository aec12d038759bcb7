"""One process of a host sends with a key.

The nonces of a key are counted in one journal, so a second sender, with whatever data directory, would use the same
ones. The claim is a name in the kernel's abstract socket namespace: it holds across users and private file systems,
and it ends with the process. What another network namespace or another host sends, the sender finds by its nonces.
"""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.units import Address


@contextmanager
def claimed(scope: str, account: Address) -> Iterator[None]:
    """Hold the key of `account` on the chain that `scope` names, until the block ends.

    Raises KeyRefused key.in_use where another process has it. Does nothing where the kernel has no such names.
    """
    if sys.platform != "linux":
        yield
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as name:
        try:
            name.bind(f"\0ogpu-provider/{scope}/{account.lower()}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise KeyRefused(
                    f"the key cannot be claimed: {error}",
                    code="key.unclaimed",
                    remedy="this user must be allowed to make sockets",
                ) from error
            raise KeyRefused(
                f"another process on this host sends with {account} on chain {scope}",
                code="key.in_use",
                remedy="`ss -xap | grep ogpu-provider/` names it: stop it, or give one of them a key of its own",
            ) from error
        yield
