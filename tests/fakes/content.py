"""Documents by URL, and a pinning service that fails when told to."""

from ogpu_provider.domain.content import Pin
from ogpu_provider.domain.errors import FetchError, ProviderError, Retry
from ogpu_provider.ipfs.cid import cid_v0


class FakeContent:
    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.pinned: dict[str, bytes] = {}
        self.pin_calls = 0
        self.pin_errors: list[ProviderError] = []
        self.get_errors: dict[str, list[ProviderError]] = {}

    async def get(self, url: str, *, limit: int) -> bytes:
        if errors := self.get_errors.get(url):
            raise errors.pop(0)
        if url not in self.documents:
            raise FetchError(f"{url}: HTTP 404", code="fetch.status", retry=Retry.NEVER)
        if len(self.documents[url]) > limit:
            raise FetchError(f"{url}: larger than {limit} bytes", code="fetch.too_large", retry=Retry.NEVER)
        return self.documents[url]

    def cid(self, body: bytes) -> str:
        return cid_v0(body)

    async def pin(self, name: str, body: bytes) -> Pin:
        self.pin_calls += 1
        if self.pin_errors:
            raise self.pin_errors.pop(0)
        cid = cid_v0(body)
        self.pinned[cid] = body
        return Pin(cid, f"http://gateway.test/ipfs/{cid}")
