"""The local pinning service: same protocol as the public one, byte for byte."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.devnet.pinning import ContentStore, PinningService, form_file
from ogpu_provider.ipfs.cid import cid_of_link, cid_v0


@pytest.fixture
async def service() -> AsyncIterator[PinningService]:
    async with PinningService(max_file_bytes=100_000) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


async def upload(http: httpx.AsyncClient, service: PinningService, body: bytes, kind: str = "application/json") -> str:
    answer = await http.post(f"{service.url}/file/create", files={"file": ("response.json", body, kind)})
    assert answer.status_code == 201
    link = answer.json()["link"]
    assert isinstance(link, str)
    return link


async def test_what_goes_up_comes_down_under_kubos_cid(http: httpx.AsyncClient, service: PinningService) -> None:
    body = b'{"result": 42}'
    link = await upload(http, service, body)
    assert link == f"{service.gateway_url}/ipfs/{cid_v0(body)}"
    answer = await http.get(link)
    assert (answer.content, answer.headers["content-type"]) == (body, "application/json")


async def test_the_same_content_again_is_the_same_file(http: httpx.AsyncClient, service: PinningService) -> None:
    links = {await upload(http, service, b"x") for _ in range(3)}
    assert len(links) == 1
    assert (len(service.store), service.store.uploads) == (1, 3)


async def test_put_gives_the_link_that_an_upload_gives(http: httpx.AsyncClient, service: PinningService) -> None:
    link = await service.put(b"services: {}", "text/yaml")
    assert link == await upload(http, service, b"services: {}")
    assert (await http.get(link)).headers["content-type"].startswith("text/yaml")


async def test_large_files_up_to_the_limit(http: httpx.AsyncClient, service: PinningService) -> None:
    assert cid_of_link(await upload(http, service, bytes(100_000))) == cid_v0(bytes(100_000))
    answer = await http.post(f"{service.url}/file/create", files={"file": ("x", bytes(100_001))})
    assert answer.status_code == 413
    answer = await http.post(f"{service.url}/file/create", files={"file": ("x", bytes(1 << 20))})
    assert answer.status_code == 413


async def test_refuses_what_is_no_upload(http: httpx.AsyncClient, service: PinningService) -> None:
    url = f"{service.url}/file/create"
    answers = [
        await http.post(url, json={}),
        await http.post(url, files={"other": ("x", b"y")}),
        await http.post(url, content=b"--b\r\n", headers={"Content-Type": "multipart/form-data; boundary=b"}),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert (await http.get(f"{service.url}/ipfs/{cid_v0(b'nobody put this')}")).status_code == 404
    assert len(service.store) == 0


async def test_a_full_store_says_so(http: httpx.AsyncClient) -> None:
    async with PinningService(ContentStore(max_total_bytes=10)) as service:
        await upload(http, service, b"12345678")
        answer = await http.post(f"{service.url}/file/create", files={"file": ("x", b"abc")})
        assert answer.status_code == 507
        await upload(http, service, b"12345678")


async def test_listens_on_loopback_only(service: PinningService) -> None:
    assert service.url.startswith("http://127.0.0.1:")


async def test_stops_while_a_client_is_connected(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30), PinningService() as service:
        await upload(http, service, b"x")
    with pytest.raises(httpx.ConnectError):
        await http.get(service.url)


@given(
    body=st.binary(max_size=300)
    | st.sampled_from([b"\r\n--", b"\r\n\r\n", b"--", b"\r", b"\n", b"", bytes(range(256))]),
    kind=st.sampled_from(["application/json", "image/png", "text/plain; charset=utf-8"]),
    before=st.binary(max_size=50),
)
def test_a_form_is_read_byte_for_byte(body: bytes, kind: str, before: bytes) -> None:
    request = httpx.Request("POST", "http://x/", files={"other": ("a", before), "file": ('ü "n".json', body, kind)})
    file = form_file(request.read(), request.headers["content-type"], "file")
    assert (file.body, file.content_type) == (body, kind)


@given(st.binary(max_size=200), st.text(max_size=80))
def test_a_broken_form_is_a_value_error(body: bytes, content_type: str) -> None:
    for kind in (content_type, "multipart/form-data; boundary=b", "multipart/form-data"):
        try:
            form_file(body, kind, "file")
        except ValueError:
            continue
        assert b"name=" in body
