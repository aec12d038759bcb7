"""Fetching from strangers: what is refused, and that refusing costs no packet."""

import asyncio
import gzip
import shutil
import ssl
import subprocess
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ogpu_provider.domain.errors import FetchError, Retry
from ogpu_provider.ipfs.fetch import Fetcher
from tests.fakes.sockets import PUBLIC, internet

Handler = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


class Site:
    """An HTTP server on loopback whose answers are written by hand."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes | Handler] = {}
        self.requests: list[str] = []
        self.hosts: list[str] = []
        self.port = 0
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, path: str, body: bytes, *headers: str, status: str = "200 OK", length: bool = True) -> None:
        head = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body)}"] if length else [])]
        self.pages[path] = "\r\n".join([*head, "Connection: close", "", ""]).encode() + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split()[1]
            self.requests.append(path)
            self.hosts += [line[6:] for line in head.splitlines() if line.lower().startswith("host: ")]
            answer = self.pages.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(path, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.fixture
async def local() -> AsyncIterator[Fetcher]:
    async with Fetcher(allow_private=True) as fetcher:
        yield fetcher


async def refusal(fetcher: Fetcher, url: str, *, limit: int = 1000, timeout: float = 5.0) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await fetcher.get(url, limit_bytes=limit, timeout_s=timeout)
    return caught.value


def resolving(*addresses: str) -> Callable[[str, int], Awaitable[list[str]]]:
    async def answer(host: str, port: int) -> list[str]:
        return list(addresses)

    return answer


async def test_gets_the_bytes(site: Site, local: Fetcher) -> None:
    site.page("/a.json", b'{"a": 1}')
    assert await local.get(f"{site.url}/a.json", limit_bytes=8) == b'{"a": 1}'


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "//example.org/x",
        "example.org",
        "",
        "http://",
        "http:///x",
        "http://user@example.org/",
        "http://user:secret@example.org/",
        "http://example.org:22/",
        "http://example.org:99999/",
        "http://exam ple.org/",
        "http://example.org/\r\nX: y",
        "http://example.org/ü",
        "http://[::1",
        "http://a..example/",
        "http://.example/",
        f"http://{'a' * 64}.example/",
        "http://xn--a/",
        "http://xn--.example/",
        "http://example.org/" + "a" * 3000,
    ],
)
async def test_refuses_a_url_without_resolving_anything(url: str) -> None:
    async def never(host: str, port: int) -> list[str]:
        raise AssertionError("resolved")

    async with Fetcher(resolve=never) as fetcher:
        error = await refusal(fetcher, url)
    assert error.code == "fetch.bad_url"
    assert error.retry is Retry.NEVER


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "[::1]"])
async def test_loopback_in_any_spelling_gets_no_connection(site: Site, host: str) -> None:
    async with Fetcher() as fetcher:
        error = await refusal(fetcher, f"http://{host}/latest/meta-data")
    assert error.code == "fetch.forbidden_address"
    assert site.connections == 0


async def test_one_private_answer_among_public_ones_is_enough() -> None:
    async with Fetcher(resolve=resolving("1.1.1.1", "10.0.0.1")) as fetcher:
        error = await refusal(fetcher, "http://rebind.example/")
    assert error.code == "fetch.forbidden_address"
    assert error.retry is Retry.NEVER
    assert "10.0.0.1" not in str(error), "the author of the URL learns nothing about our network"


async def test_connects_to_the_checked_address_and_keeps_the_name(site: Site) -> None:
    asked: list[str] = []

    async def once(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    site.page("/x", b"ok")
    async with Fetcher(allow_private=True, resolve=once) as fetcher:
        assert await fetcher.get(f"http://source.example:{site.port}/x", limit_bytes=10) == b"ok"
    assert asked == ["source.example"], "resolved once: no second answer can differ from the checked one"
    assert site.hosts == [f"source.example:{site.port}"]


async def test_tries_the_next_address_of_a_name(site: Site) -> None:
    site.page("/x", b"ok")
    async with Fetcher(allow_private=True, resolve=resolving("127.0.0.2", "127.0.0.1")) as fetcher:
        # The site listens on 127.0.0.1 only, so 127.0.0.2 refuses.
        assert await fetcher.get(f"http://source.example:{site.port}/x", limit_bytes=10) == b"ok"


async def test_follows_three_redirects_and_not_four(site: Site, local: Fetcher) -> None:
    for n in range(4):
        site.page(f"/{n}", b"", f"Location: /{n + 1}", status="302 Found")
    site.page("/4", b"end")
    assert await local.get(f"{site.url}/1", limit_bytes=10) == b"end"
    assert (await refusal(local, f"{site.url}/0")).code == "fetch.redirects"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("http://169.254.169.254/latest", "fetch.forbidden_address"),
        ("http://user@example.org/", "fetch.bad_url"),
        ("file:///etc/passwd", "fetch.bad_url"),
        ("http://internal.example:8080/", "fetch.bad_url"),
        ("http://[::1", "fetch.unreachable"),
        ("//a..example/", "fetch.bad_url"),
        ("http://xn--a/", "fetch.bad_url"),
    ],
)
async def test_a_redirect_is_checked_like_the_first_url(site: Site, target: str, code: str) -> None:
    site.page("/", b"", f"Location: {target}", status="302 Found")
    sockets = internet(site.port)
    async with Fetcher(resolve=public_by_name, backend=sockets) as fetcher:
        assert (await refusal(fetcher, "http://public.example/")).code == code
    assert (site.requests, sockets.connections) == (["/"], [(PUBLIC, 80)])


async def public_by_name(host: str, port: int) -> list[str]:
    return [PUBLIC] if host.endswith(".example") else [host]


@pytest.mark.parametrize(
    ("status", "retry"),
    [
        ("404 Not Found", Retry.NEVER),
        ("204 No Content", Retry.NEVER),
        ("429 Slow", Retry.LATER),
        ("502 Bad", Retry.LATER),
    ],
)
async def test_only_200_is_content(site: Site, local: Fetcher, status: str, retry: Retry) -> None:
    site.page("/x", b"", status=status)
    error = await refusal(local, f"{site.url}/x")
    assert (error.code, error.retry) == ("fetch.status", retry)


async def test_the_limit_counts_declared_and_undeclared_bytes(site: Site, local: Fetcher) -> None:
    site.page("/declared", b"x" * 1001)
    site.page("/undeclared", b"x" * 1001, length=False)
    site.page("/fits", b"x" * 1000, length=False)
    assert (await refusal(local, f"{site.url}/declared")).code == "fetch.too_large"
    assert (await refusal(local, f"{site.url}/undeclared")).code == "fetch.too_large"
    assert len(await local.get(f"{site.url}/fits", limit_bytes=1000)) == 1000


async def test_an_endless_body_is_cut_off(site: Site, local: Fetcher) -> None:
    sent = 0

    async def endless(path: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    site.pages["/x"] = endless
    assert (await refusal(local, f"{site.url}/x", limit=1000)).code == "fetch.too_large"
    assert sent < 32 << 20


async def test_gzip_is_unpacked_and_counted_unpacked(site: Site, local: Fetcher) -> None:
    site.page("/ok", gzip.compress(b"y" * 1000), "Content-Encoding: gzip")
    site.page("/bomb", gzip.compress(bytes(200 << 20)), "Content-Encoding: gzip")
    site.page("/cut", gzip.compress(b"z" * 500)[:-6], "Content-Encoding: gzip")
    site.page("/bad", b"no gzip at all", "Content-Encoding: gzip")
    site.page("/two", gzip.compress(b"a") + gzip.compress(b"b"), "Content-Encoding: gzip")
    assert await local.get(f"{site.url}/ok", limit_bytes=1000) == b"y" * 1000
    assert (await refusal(local, f"{site.url}/bomb", limit=1 << 20)).code == "fetch.too_large"
    assert (await refusal(local, f"{site.url}/cut")).code == "fetch.unreachable"
    assert (await refusal(local, f"{site.url}/bad")).code == "fetch.encoding"
    assert (await refusal(local, f"{site.url}/two")).code == "fetch.encoding"


@pytest.mark.parametrize("encoding", ["deflate", "br", "gzip, gzip", "zstd"])
async def test_other_encodings_are_refused(site: Site, local: Fetcher, encoding: str) -> None:
    site.page("/x", zlib.compress(b"y"), f"Content-Encoding: {encoding}")
    assert (await refusal(local, f"{site.url}/x")).code == "fetch.encoding"


async def test_a_dripping_answer_ends_with_the_time_budget(site: Site, local: Fetcher) -> None:
    async def drip(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    site.pages["/x"] = drip
    error = await refusal(local, f"{site.url}/x", timeout=0.2)
    assert (error.code, error.retry) == ("fetch.timeout", Retry.LATER)


async def test_a_dead_host_and_a_broken_answer_may_be_tried_again(site: Site, local: Fetcher) -> None:
    async def no_name(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    site.pages["/x"] = b"garbage\r\n\r\n"
    async with Fetcher(resolve=no_name) as unnamed:
        errors = [await refusal(unnamed, "http://gone.example/"), await refusal(local, f"{site.url}/x")]
    errors.append(await refusal(local, "http://127.0.0.1:1/"))
    assert [(error.code, error.retry) for error in errors] == [("fetch.unreachable", Retry.LATER)] * 3


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
async def test_the_certificate_must_be_for_the_name_not_the_address(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=source.example"
    command += f" -addext subjectAltName=DNS:source.example -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    site = Site()
    site.page("/x", b"ok")
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=server_side)
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with Fetcher(allow_private=True, resolve=resolving("127.0.0.1"), verify=trusting) as fetcher:
        assert await fetcher.get(f"https://source.example:{port}/x", limit_bytes=10) == b"ok"
        assert (await refusal(fetcher, f"https://other.example:{port}/x")).code == "fetch.unreachable"
    async with Fetcher(allow_private=True, resolve=resolving("127.0.0.1")) as fetcher:
        assert (await refusal(fetcher, f"https://source.example:{port}/x")).code == "fetch.unreachable"
    assert site.requests == ["/x"]
    server.close()


async def test_proxies_of_the_environment_are_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    site.page("/x", b"ok")
    async with Fetcher(allow_private=True) as fetcher:
        assert await fetcher.get(f"{site.url}/x", limit_bytes=10) == b"ok"
