"""What publishing promises the path: the fake of the tests, and the real client on a real service."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import httpx
import pytest

from ogpu_provider.devnet.pinning import PinningService
from ogpu_provider.domain.content import Pin
from ogpu_provider.domain.errors import FetchError, PinError, Retry
from ogpu_provider.ipfs.cid import cid_of_link, cid_v0
from ogpu_provider.ipfs.content import IpfsContent
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.ipfs.pinners import OgpuPinner
from ogpu_provider.pipeline.ports import Content
from tests.fakes.content import FakeContent

BODIES = [b'{"result": 42}', b"", b"\r\n--\x00\xff", bytes(300_000), bytes(range(256)) * 8192]


class Publishing(Protocol):
    """A Content port and a look behind it."""

    @property
    def content(self) -> Content: ...

    async def published(self, pin: Pin) -> bytes: ...


class OnFake:
    def __init__(self) -> None:
        self.fake = FakeContent()

    @property
    def content(self) -> Content:
        return self.fake

    async def published(self, pin: Pin) -> bytes:
        return self.fake.pinned[pin.cid]


class OnService:
    def __init__(self, content: Content) -> None:
        self._content = content

    @property
    def content(self) -> Content:
        return self._content

    async def published(self, pin: Pin) -> bytes:
        return await self._content.get(pin.link, limit=4 << 20)


@pytest.fixture(params=["fake", "service"])
async def publishing(request: pytest.FixtureRequest) -> AsyncIterator[Publishing]:
    if request.param == "fake":
        yield OnFake()
        return
    async with (
        PinningService() as service,
        httpx.AsyncClient(trust_env=False) as client,
        Fetcher(allow_private=True) as fetcher,
    ):
        yield OnService(IpfsContent(fetcher, OgpuPinner(service.url + "/file/create", client)))


@pytest.mark.parametrize("body", BODIES, ids=len)
async def test_the_pin_names_the_bytes(publishing: Publishing, body: bytes) -> None:
    pin = await publishing.content.pin("response.json", body)
    assert pin.cid == publishing.content.cid(body) == cid_v0(body)
    assert cid_of_link(pin.link) == pin.cid
    assert await publishing.published(pin) == body


async def test_pinning_again_gives_the_same_pin(publishing: Publishing) -> None:
    assert await publishing.content.pin("a.json", b"{}") == await publishing.content.pin("b.json", b"{}")


async def test_getting_what_is_not_there_is_final(publishing: Publishing) -> None:
    pin = await publishing.content.pin("a.json", b"{}")
    missing = pin.link.replace(pin.cid, cid_v0(b"never published"))
    with pytest.raises(FetchError) as caught:
        await publishing.content.get(missing, limit=100)
    assert (caught.value.code, caught.value.retry) == ("fetch.status", Retry.NEVER)


class Answers:
    """A service that gives prepared answers, and counts."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.calls = 0
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def pin(self, body: bytes = b"{}", attempts: int = 4) -> Pin:
        async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as client:
            return await OgpuPinner("http://pin.test/", client, attempts=attempts, sleep=self.sleep).pin("x", body)


def linked(cid: str, status: int = 201) -> httpx.Response:
    return httpx.Response(status, json={"link": f"https://gateway.test/ipfs/{cid}"})


async def test_tries_again_after_lost_replies_and_server_errors() -> None:
    service = Answers(
        httpx.ReadError("reset"), httpx.Response(503), httpx.Response(200, text="<html>"), linked(cid_v0(b"{}"), 200)
    )
    assert (await service.pin()).cid == cid_v0(b"{}")
    assert service.calls == 4
    assert service.pauses == [0.5, 1.0, 2.0]


async def test_gives_up_for_now_after_its_attempts() -> None:
    service = Answers(httpx.Response(500))
    with pytest.raises(PinError) as caught:
        await service.pin(attempts=3)
    assert (caught.value.code, caught.value.retry, service.calls) == ("pin.unavailable", Retry.LATER, 3)


async def test_a_service_that_never_answers_is_given_up_for_now() -> None:
    asked: list[bytes] = []

    async def hang(request: httpx.Request) -> httpx.Response:
        asked.append(request.content)
        await asyncio.Event().wait()
        raise AssertionError

    async def at_once(seconds: float) -> None: ...

    async with httpx.AsyncClient(transport=httpx.MockTransport(hang)) as client:
        pinner = OgpuPinner("http://pin.test/", client, attempts=2, timeout_s=0.5, sleep=at_once)
        with pytest.raises(PinError) as caught:
            await pinner.pin("x", b"{}")
    assert (caught.value.code, caught.value.retry, len(asked)) == ("pin.unavailable", Retry.LATER, 2)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 302])
async def test_a_refusal_is_final(status: int) -> None:
    service = Answers(httpx.Response(status))
    with pytest.raises(PinError) as caught:
        await service.pin()
    assert (caught.value.code, caught.value.retry, service.calls) == ("pin.refused", Retry.NEVER, 1)


@pytest.mark.parametrize(
    "link",
    [
        f"https://gateway.test/ipfs/{cid_v0(b'something else')}",
        "https://gateway.test/files/17",
        f"ipfs://{cid_v0(b'{}')}",
        "",
    ],
)
async def test_a_link_to_anything_else_never_leaves(link: str) -> None:
    service = Answers(httpx.Response(201, json={"link": link}))
    with pytest.raises(PinError) as caught:
        await service.pin()
    assert (caught.value.code, caught.value.retry, service.calls) == ("pin.mismatch", Retry.NEVER, 1)


async def test_a_version_1_cid_of_the_same_bytes_is_good() -> None:
    """`bafkrei...` of `{}`: Kubo's `add --cid-version=1`."""
    v1 = "bafkreicecnx2gvntm6fbcrvnc336qze6st5u7qq7457igegamd3bzkx7ri"
    assert (await Answers(linked(v1)).pin()).cid == v1
