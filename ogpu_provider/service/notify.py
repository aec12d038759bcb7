"""What the daemon tells the service manager: sd_notify, one datagram per message (`man 3 sd_notify`)."""

import contextlib
import socket


class Notifier:
    """Sends to the socket that NOTIFY_SOCKET named; without one it is silent.

    Nothing raises and nothing waits: a service manager that does not listen is no reason to stop earning.
    """

    def __init__(self, address: str = "") -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self, status: str) -> None:
        """Start-up is over; `status` is the line that `systemctl status` shows."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        self._send(f"STATUS={_line(text)}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out, contextlib.suppress(OSError):
            out.setblocking(False)
            out.sendto(message.encode(), self._address)


def _line(text: str) -> str:
    return " ".join(text.split())
