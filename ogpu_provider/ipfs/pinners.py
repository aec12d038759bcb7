"""Publishing: bytes go up, the CID that comes back must be the one we computed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import httpx
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from ogpu_provider.domain.content import Pin
from ogpu_provider.domain.documents import read_json
from ogpu_provider.domain.errors import PinError, Retry
from ogpu_provider.ipfs.cid import cid_of_link, cid_v0, names_content

Sleep = Callable[[float], Awaitable[None]]
T = TypeVar("T")
MAX_ANSWER_BYTES = 64 << 10
OFF_LOOP_BYTES = 1 << 20
"""Hashing runs at about 1.5 GB/s; above this size it goes to a thread."""


class Pinner(Protocol):
    async def pin(self, name: str, data: bytes, content_type: str = "application/json") -> Pin:
        """Publish `data` under a file name; doing it again is harmless. Raises PinError."""
        ...


class OgpuPinner:
    """The publishing service of the network: POST to `url` (.../file/create), field `file`; answers `{"link": ...}`.

    Network errors, 429 and 5xx are tried again, `attempts` times in all with doubling pauses (seconds), then PinError
    `pin.unavailable`. Other refusals (`pin.refused`) and a link for other content (`pin.mismatch`) are final: such a
    link must never reach the chain. `client` is shared and stays open.
    """

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        *,
        attempts: int = 4,
        pause_s: float = 0.5,
        timeout_s: float = 30.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._url = url
        self._client = client
        self._timeout_s = timeout_s
        self._retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, PinError) and error.retry is not Retry.NEVER),
            stop=stop_after_attempt(attempts),
            wait=wait_exponential(multiplier=pause_s, max=10.0),
            sleep=sleep,
            reraise=True,
        )

    async def pin(self, name: str, data: bytes, content_type: str = "application/json") -> Pin:
        expected = await _hashed(cid_v0, data)
        link: str = await self._retrying.copy()(self._post, name, data, content_type)
        returned = cid_of_link(link)
        if returned is None or urlsplit(link).scheme not in ("http", "https"):
            raise PinError("the pinning service returned no IPFS link", code="pin.mismatch", retry=Retry.NEVER)
        if returned != expected and not await _hashed(lambda body: names_content(returned, body), data):
            raise PinError(
                f"the pinning service returned {returned}, the content is {expected}",
                code="pin.mismatch",
                retry=Retry.NEVER,
            )
        return Pin(returned, link)

    async def _post(self, name: str, data: bytes, content_type: str) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._client.post(
                    self._url, files={"file": (name, data, content_type)}, follow_redirects=False
                )
        except (httpx.HTTPError, TimeoutError) as error:
            raise PinError(
                f"the pinning service could not be reached ({type(error).__name__})", code="pin.unavailable"
            ) from error
        if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
            raise PinError(f"the pinning service answered HTTP {answer.status_code}", code="pin.unavailable")
        if answer.status_code not in (200, 201):
            raise PinError(
                f"the pinning service answered HTTP {answer.status_code}", code="pin.refused", retry=Retry.NEVER
            )
        return _link(answer)


def _link(answer: httpx.Response) -> str:
    try:
        link = read_json(answer.content)["link"] if len(answer.content) <= MAX_ANSWER_BYTES else None
    except (ValueError, KeyError, TypeError):
        link = None
    if not isinstance(link, str):
        raise PinError("the pinning service answered without a link", code="pin.unavailable")
    return link


async def _hashed(function: Callable[[bytes], T], data: bytes) -> T:
    if len(data) < OFF_LOOP_BYTES:
        return function(data)
    return await asyncio.to_thread(function, data)
