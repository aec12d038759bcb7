"""Where webhooks go: nowhere that is not public, whatever the URL, the name or its next answer says. Connections are
counted at the socket."""

import pytest

from ogpu_provider.domain.errors import FetchError
from ogpu_provider.ipfs.webhook import Poster
from tests.fakes.sockets import PUBLIC, Names, answering

PRIVATE = ("10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "fd00::1", "::1", "64:ff9b::a9fe:a9fe")


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_private_address_is_refused_at_creation_and_at_delivery(address: str) -> None:
    sockets = answering()
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
    sockets = answering()
    async with Poster(resolve=Names([PUBLIC]), backend=sockets) as poster:
        with pytest.raises(FetchError):
            await poster.vet(url)
        with pytest.raises(FetchError):
            await poster.post(url, b"{}", {})
    assert sockets.connections == []


async def test_a_name_that_turns_private_after_its_check_is_not_connected_to() -> None:
    sockets = answering()
    async with Poster(resolve=Names([PUBLIC], ["169.254.169.254"]), backend=sockets) as poster:
        await poster.vet("http://name.example/hook")
        with pytest.raises(FetchError, match="not public"):
            await poster.post("http://name.example/hook", b"{}", {})
    assert sockets.connections == []


async def test_one_private_answer_among_public_ones_refuses_all() -> None:
    sockets = answering()
    async with Poster(resolve=Names([PUBLIC, "10.0.0.1"]), backend=sockets) as poster:
        with pytest.raises(FetchError, match="not public"):
            await poster.post("http://name.example/hook", b"{}", {})
    assert sockets.connections == []


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    sockets = answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n")
    async with Poster(resolve=Names([PUBLIC]), backend=sockets) as poster:
        assert await poster.post("http://name.example/hook", b"{}", {}) == (302, 0.0)
    assert sockets.connections == [(PUBLIC, 80)]


async def test_a_redirect_to_what_is_no_url_is_an_error_of_ours() -> None:
    sockets = answering(b"HTTP/1.1 302 Found\r\nLocation: http://xn--a/\r\nContent-Length: 0\r\n\r\n")
    async with Poster(resolve=Names([PUBLIC]), backend=sockets) as poster:
        with pytest.raises(FetchError) as failed:
            await poster.post("http://name.example/hook", b"{}", {})
    assert failed.value.code == "fetch.bad_url"


async def test_the_pause_that_is_asked_for_is_told() -> None:
    sockets = answering(b"HTTP/1.1 503 No\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n")
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
