"""Fetching and publishing together: the Content port of the path."""

from ogpu_provider.domain.content import Pin
from ogpu_provider.ipfs.cid import cid_v0
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.ipfs.pinners import Pinner


class IpfsContent:
    """Adapter over a fetcher and a pinner, which stay the caller's to close. `timeout_s` bounds one fetch."""

    def __init__(self, fetcher: Fetcher, pinner: Pinner, *, timeout_s: float = 30.0) -> None:
        self._fetcher = fetcher
        self._pinner = pinner
        self._timeout_s = timeout_s

    async def get(self, url: str, *, limit: int) -> bytes:
        """At most `limit` bytes. Raises FetchError."""
        return await self._fetcher.get(url, limit_bytes=limit, timeout_s=self._timeout_s)

    def cid(self, body: bytes) -> str:
        return cid_v0(body)

    async def pin(self, name: str, body: bytes) -> Pin:
        """Publish JSON; the CID was checked against `body`. Raises PinError."""
        return await self._pinner.pin(name, body, "application/json")
