"""No URL, redirect, name or image of a stranger's leads to a private address: connections are counted at the socket.

The three clients that speak to strangers: of documents, of webhooks, and of image registries.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest

from ogpu_provider.domain.errors import EngineError, FetchError
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.ipfs.webhook import Poster
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.registry import Registries
from tests.fakes.sockets import PUBLIC, Names, answering, internet
from tests.security.test_addresses_table import MAPPED, V4_BLOCKS, V6_BLOCKS

_HOSTS = """
127.0.0.1 127.1 127.0.1 0 0.0.0.0 2130706433 0x7f000001 0x7f.1 0x7f.0x0.0x0.0x1 0177.0.0.1 0177.1 017700000001
127.0.0.1. localhost localhost. LOCALHOST [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1]
[0:0:0:0:0:0:0:1] 169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 [::ffff:169.254.169.254] [fd00:ec2::254]
[64:ff9b::a9fe:a9fe] [2002:a9fe:a9fe::] [2002:7f00:1::] [fe80::1] [fec0::1] 10.0.0.1 192.168.0.1 100.64.0.1 172.17.0.1
"""
PRIVATE_HOSTS = _HOSTS.split()
TRICKS = {
    "a user name that looks like the host": "http://1.1.1.1@127.0.0.1/",
    "a password that looks like the host": "http://1.1.1.1:80@127.0.0.1/",
    "an empty user name": "http://@127.0.0.1/",
    "a fragment before the at sign": "http://127.0.0.1#@1.1.1.1/",
    "a query before the at sign": "http://127.0.0.1?@1.1.1.1/",
    "a backslash for a slash": "http://127.0.0.1\\@1.1.1.1/",
    "backslashes for slashes": "http:\\\\127.0.0.1/",
    "no slashes": "http:127.0.0.1/",
    "three slashes": "http:///127.0.0.1/",
    "an encoded host": "http://%31%32%37.0.0.1/",
    "an encoded dot": "http://127%2e0%2e0%2e1/",
    "full-width digits": "http://\uff11\uff12\uff17.0.0.1/",
    "circled digits": "http://\u2460\u2461\u2466.0.0.1/",
    "an ideographic full stop": "http://127\u30020\u30020\u30021/",
    "a tab in the host": "http://127.0\t.0.1/",
    "a line feed in the host": "http://127.0.0.1\n.example.org/",
    "a null byte": "http://127.0.0.1\x00.example.org/",
    "a zone": "http://[fe80::1%25lo]/",
    "an encoded zone of loopback": "http://[::1%25lo]/",
    "an IPv4 address in the brackets": "http://[127.0.0.1]/",
    "a port behind a port": "http://127.0.0.1:80:80/",
    "mixed case of scheme and host": "hTTp://LocalHost/",
    "another scheme": "gopher://127.0.0.1:80/",
    "a file": "file://127.0.0.1/etc/passwd",
}


@contextmanager
def counted() -> Iterator[list[Any]]:
    """Every connect to an internet address in this process meanwhile."""
    connections: list[Any] = []
    counting = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if counting and event == "socket.connect" and isinstance(arguments[1], tuple):
            connections.append(arguments[1])

    sys.addaudithook(hook)
    try:
        yield connections
    finally:
        counting = False


Ask = Callable[[str], Awaitable[object]]


async def code_of(asking: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(60):
            await asking
    except (FetchError, EngineError) as error:
        return error.code
    return "answered"


async def asked_by_all(url: str) -> set[str]:
    """What a fetch and a webhook come to."""
    async with Fetcher() as fetcher, Poster() as poster:
        return {await code_of(fetcher.get(url, limit_bytes=10)), await code_of(poster.post(url, b"{}", {}))}


REFUSED = {"fetch.forbidden_address", "fetch.bad_url"}


async def test_no_spelling_of_a_private_host_is_connected_to() -> None:
    with counted() as connections:
        for host in PRIVATE_HOSTS:
            for url in (f"http://{host}/latest/meta-data", f"https://{host}:443/"):
                # a form that only the system's resolver could read may be unknown to it
                assert await asked_by_all(url) <= REFUSED | {"fetch.unreachable"}, url
    assert connections == []


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_trick_with_a_url_is_connected_to(trick: str) -> None:
    with counted() as connections:
        assert await asked_by_all(TRICKS[trick]) <= REFUSED | {"fetch.unreachable"}
    assert connections == []


async def test_no_private_registry_is_connected_to() -> None:
    hosts = [host for host in PRIVATE_HOSTS if not host.startswith("[") and not host.endswith(".")]
    images = []
    for host in hosts:
        for name in (f"{host}/team/app:1", f"{host}:443/app:1", f"{host}:5000/app:1"):
            image = Image.parse(name)
            if image.registry:  # the others are paths on the public registry
                images.append(image)
    assert len(images) > 50
    fetcher = Fetcher()
    registries = Registries(fetcher)
    with counted() as connections:
        for image in images:
            code = await code_of(registries.manifest(image))
            assert code in ("engine.registry_refused", "engine.registry_silent"), image
    await registries.aclose()
    assert connections == []


def rows() -> dict[str, str]:
    """A name for each end of each block of IANA's registries, with what a stranger's resolver says that it is."""
    found: dict[str, str] = {}
    blocks: list[IPv4Network | IPv6Network] = [*V4_BLOCKS, *V6_BLOCKS]
    for number, block in enumerate(blocks):
        if block != MAPPED:  # what is mapped is judged as what it is
            found |= {f"first-{number}.example": str(block[0]), f"last-{number}.example": str(block[-1])}
    return found


async def test_no_address_of_ianas_registries_is_connected_to_by_name_or_by_number() -> None:
    named = rows()

    async def resolve(name: str, port: int) -> list[str]:
        address = named.get(name, name)
        return [PUBLIC, address] if port == 443 else [address]

    async with Fetcher(resolve=resolve) as fetcher, Poster(resolve=resolve) as poster:
        registries = Registries(fetcher)
        with counted() as connections:
            for name, address in named.items():
                number = f"[{address}]" if ":" in address else address
                for url in (f"http://{name}/", f"https://{name}/", f"http://{number}/", f"https://{number}/"):
                    assert await code_of(fetcher.get(url, limit_bytes=10)) in REFUSED, (url, address)
                    assert await code_of(poster.post(url, b"{}", {})) in REFUSED, (url, address)
                code = await code_of(registries.manifest(Image.parse(f"{name}/team/app:1")))
                assert code == "engine.registry_refused", address
    assert len(named) > 100
    assert connections == []


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "localhost", "[::1]", "0x7f000001", "private.example"])
async def test_a_registry_sends_nobody_to_a_private_token_service(host: str) -> None:
    """Its 401 names where to ask for a token: a URL of a stranger like every other."""
    challenge = f'Bearer realm="https://{host}/token",service="r"'
    answer = f"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n".encode()

    async def resolve(name: str, port: int) -> list[str]:
        return [PUBLIC] if name == "registry.example" else ["10.0.0.1"]

    sockets = answering(answer)
    fetcher = Fetcher(resolve=resolve, backend=sockets)
    registries = Registries(fetcher)
    assert await code_of(registries.manifest(Image.parse("registry.example/team/app:1"))) == "engine.registry_refused"
    await registries.aclose()
    assert sockets.connections == [(PUBLIC, 443)]


class Site:
    """What answers for 1.1.1.1, port 80 and 443: a redirect to itself, or whatever a test wants; then it closes."""

    def __init__(self) -> None:
        self.port = 0
        self.visits = 0
        self.answer = b"HTTP/1.1 302 Found\r\nLocation: http://rebind.example/again\r\nContent-Length: 0\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer + b"Connection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


PRIVATE = [
    ["127.0.0.1"],
    ["169.254.169.254"],
    ["::1"],
    ["fd00:ec2::254"],
    ["1.1.1.1", "10.0.0.1"],
    ["::ffff:127.0.0.1"],
]


@pytest.mark.parametrize("private", PRIVATE, ids=str)
async def test_a_name_that_changes_its_mind_is_not_followed(site: Site, private: list[str]) -> None:
    """First public, then private: the first connection goes to what was checked, the second one is not made."""
    names = Names([PUBLIC], private)
    async with Fetcher(resolve=names, backend=internet(site.port)) as fetcher:
        with counted() as connections:
            assert await code_of(fetcher.get("http://rebind.example/", limit_bytes=10)) == "fetch.forbidden_address"
    assert connections == [("127.0.0.1", site.port)]
    assert (site.visits, names.asked) == (1, 2), "asked once for each connection, and never again for the check"


@pytest.mark.parametrize("private", PRIVATE, ids=str)
async def test_an_endpoint_that_was_public_when_it_was_registered_is_checked_again(
    site: Site, private: list[str]
) -> None:
    names = Names([PUBLIC], private)
    async with Poster(resolve=names, backend=internet(site.port)) as poster:
        with counted() as connections:
            await poster.vet("http://rebind.example/hook")
            code = await code_of(poster.post("http://rebind.example/hook", b"{}", {}))
    assert (code, connections) == ("fetch.forbidden_address", [])


@pytest.mark.parametrize("private", PRIVATE, ids=str)
async def test_a_registry_that_changes_its_mind_gets_no_connection(site: Site, private: list[str]) -> None:
    names = Names([PUBLIC], private)
    fetcher = Fetcher(resolve=names, backend=internet(site.port))
    registries = Registries(fetcher)
    image = Image.parse("registry.example/team/app:1")
    with counted() as connections:
        assert await code_of(registries.manifest(image)) == "engine.registry_silent"  # no TLS there
        assert await code_of(registries.manifest(image)) == "engine.registry_refused"
    await registries.aclose()
    assert connections == [("127.0.0.1", site.port)]


@pytest.mark.parametrize("host", [host for host in PRIVATE_HOSTS if "0x" not in host])
async def test_no_redirect_leads_to_a_private_host(site: Site, host: str) -> None:
    site.answer = f"HTTP/1.1 302 Found\r\nLocation: http://{host}/latest\r\nContent-Length: 0\r\n".encode()

    async def by_name(name: str, port: int) -> list[str]:
        from ogpu_provider.ipfs.transport import resolve

        return [PUBLIC] if name.endswith(".example") else await resolve(name, port)

    async with Fetcher(resolve=by_name, backend=internet(site.port)) as fetcher:
        with counted() as connections:
            code = await code_of(fetcher.get("http://public.example/", limit_bytes=10))
    assert code in REFUSED | {"fetch.unreachable"}
    assert connections == [("127.0.0.1", site.port)]
    assert site.visits == 1


async def test_three_redirects_are_followed_and_no_fourth(site: Site) -> None:
    names = Names([PUBLIC])
    async with Fetcher(resolve=names, backend=internet(site.port)) as fetcher:
        assert await code_of(fetcher.get("http://rebind.example/", limit_bytes=10)) == "fetch.redirects"
    assert (site.visits, names.asked) == (4, 4)


async def test_a_webhook_follows_no_redirect(site: Site) -> None:
    async with Poster(resolve=Names([PUBLIC]), backend=internet(site.port)) as poster:
        status, _ = await poster.post("http://rebind.example/", b"{}", {})
    assert (status, site.visits) == (302, 1)
