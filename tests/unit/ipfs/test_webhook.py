"""Where webhooks go: nowhere that is not public, whatever the URL, the name or its next answer says. Connections are
counted at the socket."""

import asyncio
from collections.abc import Iterable
from typing import Any

import httpcore
import pytest

from ogpu_provider.domain.errors import FetchError
from ogpu_provider.ipfs.webhook import Poster

PRIVATE = ("10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "fd00::1", "::1", "64:ff9b::a9fe:a9fe")
PUBLIC = "93.184.216.34"


class Sockets(httpcore.AsyncNetworkBackend):
    """Answers every request with `answer`; `connections` are the addresses that were connected to."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") -> None:
        self.connections: list[str] = []
        self._answer = answer

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connections.append(host)
        return httpcore.AsyncMockStream([self._answer])

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Names:
    """Gives each answer once, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)

    async def __call__(self, host: str, port: int) -> list[str]:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_private_address_is_refused_at_creation_and_at_delivery(address: str) -> None:
    sockets = Sockets()
    literal = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    async with Poster(resolve=Names([address]), backend=sockets) as poster:
        for url in (literal, "http://name.example/"):
            with pytest.raises(FetchError, match="not public"):
                await poster.vet(url)
            with pytest.raises(FetchError, match="not public"):
                await poster.post(url, b"{}", {})
    assert sockets.connections == []


@pytest.mark.parametrize(
    "url",
    [
        "http://0x7f.1/",
        "http://2130706433/",
        "http://127.1/",
        "http://localhost/",
        "http://metadata.google.internal/",
        "http://printer.local/",
        "http://a..example/",
        "http://xn--a/",
        "http://user@93.184.216.34/",
        "http://93.184.216.34:8080/",
        "file:///etc/passwd",
        "gopher://93.184.216.34/",
    ],
)
async def test_a_tricky_url_is_refused_before_its_name_is_asked_for(url: str) -> None:
    sockets = Sockets()
    async with Poster(resolve=Names([PUBLIC]), backend=sockets) as poster:
        with pytest.raises(FetchError):
            await poster.vet(url)
        with pytest.raises(FetchError):
            await poster.post(url, b"{}", {})
    assert sockets.connections == []


async def test_a_name_that_turns_private_after_its_check_is_not_connected_to() -> None:
    sockets = Sockets()
    async with Poster(resolve=Names([PUBLIC], ["169.254.169.254"]), backend=sockets) as poster:
        await poster.vet("http://name.example/hook")
        with pytest.raises(FetchError, match="not public"):
            await poster.post("http://name.example/hook", b"{}", {})
    assert sockets.connections == []


async def test_one_private_answer_among_public_ones_refuses_all() -> None:
    sockets = Sockets()
    async with Poster(resolve=Names([PUBLIC, "10.0.0.1"]), backend=sockets) as poster:
        with pytest.raises(FetchError, match="not public"):
            await poster.post("http://name.example/hook", b"{}", {})
    assert sockets.connections == []


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    sockets = Sockets(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n")
    async with Poster(resolve=Names([PUBLIC]), backend=sockets) as poster:
        assert await poster.post("http://name.example/hook", b"{}", {}) == (302, 0.0)
    assert sockets.connections == [PUBLIC]


async def test_a_redirect_to_what_is_no_url_is_an_error_of_ours() -> None:
    sockets = Sockets(b"HTTP/1.1 302 Found\r\nLocation: http://xn--a/\r\nContent-Length: 0\r\n\r\n")
    async with Poster(resolve=Names([PUBLIC]), backend=sockets) as poster:
        with pytest.raises(FetchError) as failed:
            await poster.post("http://name.example/hook", b"{}", {})
    assert failed.value.code == "fetch.bad_url"


async def test_the_pause_that_is_asked_for_is_told() -> None:
    sockets = Sockets(b"HTTP/1.1 503 No\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n")
    async with Poster(resolve=Names([PUBLIC]), backend=sockets) as poster:
        assert await poster.post("http://name.example/hook", b"{}", {}) == (503, 120.0)


async def test_a_name_without_an_answer_may_have_one_later() -> None:
    async def nowhere(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async with Poster(resolve=nowhere) as poster:
        await poster.vet("http://name.example/hook")
        with pytest.raises(FetchError) as failed:
            await poster.post("http://name.example/hook", b"{}", {})
    assert failed.value.code == "fetch.unreachable"
