"""The real node and the real web behind the checks' ports.

Chain id, code and head are asked for without the checks that every other connection makes: here a wrong answer is
what is looked for.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ogpu_provider.chain.networks import Network
from ogpu_provider.doctor.ports import EndpointFacts
from ogpu_provider.domain.errors import ProviderError, RpcUnavailable
from ogpu_provider.domain.units import ZERO_ADDRESS, Address, Wei

if TYPE_CHECKING:
    import httpx

    from ogpu_provider.chain.reader import ChainReader
    from ogpu_provider.chain.wallet import FeeData, Pairing, VaultAccount, VaultTerms, Wallet
    from ogpu_provider.domain.source import SourceParams

_SECONDS = 10.0
_ANNOUNCED = 15.0


class NodeChain:
    """`network`: through the endpoint that is looked at closely. `ends`: through each that there is."""

    def __init__(self, network: Network, ends: Sequence[Network] = ()) -> None:
        self._network = network
        self._ends = tuple(ends) or (network,)
        self._stack = AsyncExitStack()
        self._client: httpx.AsyncClient | None = None
        self._reader: tuple[ChainReader, Wallet] | None = None
        self._lock = asyncio.Lock()

    async def chain_id(self) -> int:
        return _number(await self._plain("eth_chainId"))

    async def endpoints(self) -> Sequence[EndpointFacts]:
        return await asyncio.gather(*map(self._endpoint, self._ends))

    async def _endpoint(self, end: Network) -> EndpointFacts:
        name = urlsplit(end.http_url or end.ws_url).netloc.rpartition("@")[2]
        try:
            if end.http_url:
                chain_id = _number(await self._plain("eth_chainId", url=end.http_url))
                return EndpointFacts(name, chain_id, _number(await self._plain("eth_blockNumber", url=end.http_url)))
            async with asyncio.timeout(_SECONDS):
                return EndpointFacts(name, end.chain_id, await self._announcing(end))
        except (ProviderError, TimeoutError) as error:
            return EndpointFacts(name, problem=_reason(error))

    async def _announcing(self, end: Network) -> int:
        """Newest block of an endpoint that speaks by websocket only; its chain is checked on the way."""
        from ogpu_provider.chain.rpc import Rpc

        async with Rpc(end, timeout=_SECONDS) as rpc:
            while True:
                try:
                    return _number(await rpc.call("eth_blockNumber"))
                except RpcUnavailable:
                    await asyncio.sleep(0.2)  # not connected yet; whoever asks has a time limit

    async def empty_contracts(self) -> Sequence[Address]:
        codes = [await self._plain("eth_getCode", address, "latest") for address in self._network.contracts]
        return [a for a, code in zip(self._network.contracts, codes, strict=True) if not code or len(code) <= 2]

    async def head(self) -> tuple[int, int]:
        block = await self._plain("eth_getBlockByNumber", "latest", False)
        if not isinstance(block, dict):
            raise RpcUnavailable("the node has no newest block")
        return _number(block.get("number")), _number(block.get("timestamp"))

    async def socket_head(self) -> int:
        from ogpu_provider.chain.rpc import Rpc

        async with Rpc(replace(self._network, http_url=""), timeout=_SECONDS) as rpc:
            news = await rpc.subscribe()
            try:
                async with asyncio.timeout(_ANNOUNCED):
                    return _number((await anext(news)).heads[-1].get("number"))
            except TimeoutError:
                raise RpcUnavailable(f"connected, but no block was announced in {_ANNOUNCED:g} s") from None

    async def balance(self, account: Address) -> Wei:
        return await (await self._parts())[1].balance(account)

    async def nonce(self, account: Address) -> int:
        return await (await self._parts())[1].nonce(account)

    async def fees(self) -> "FeeData":
        return await (await self._parts())[1].fees()

    async def vault(self, account: Address) -> "VaultAccount":
        return await (await self._parts())[1].vault(account)

    async def terms(self) -> "VaultTerms":
        return await (await self._parts())[1].terms()

    async def pairing(self, provider: Address) -> "Pairing":
        return await (await self._parts())[1].pairing(provider)

    async def sources(self) -> Sequence[Address]:
        return await (await self._parts())[0].all_sources()

    async def source(self, source: Address) -> "SourceParams":
        return await (await self._parts())[0].source(source)

    async def aclose(self) -> None:
        await self._stack.aclose()

    async def _parts(self) -> "tuple[ChainReader, Wallet]":
        """Reads over HTTP, whatever the websocket does: that has a check of its own."""
        async with self._lock:
            if self._reader is None:
                from ogpu_provider.chain.reader import ChainReader
                from ogpu_provider.chain.rpc import Rpc
                from ogpu_provider.chain.wallet import Wallet

                rpc = Rpc(replace(self._network, ws_url=""), timeout=_SECONDS)
                # its task group is empty without a websocket, so it may be closed by another task than this one
                await rpc.__aenter__()
                self._stack.push_async_callback(rpc.__aexit__, None, None, None)
                self._reader = ChainReader(rpc, self._network, ZERO_ADDRESS), Wallet(rpc, self._network)
            return self._reader

    async def _plain(self, method: str, *params: object, url: str = "") -> Any:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(trust_env=False, timeout=_SECONDS)
            self._stack.push_async_callback(self._client.aclose)
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        try:
            answer = await self._client.post(url or self._network.http_url, json=body)
            found = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise RpcUnavailable(f"{method}: {_reason(error)}") from error
        if answer.status_code != 200 or not isinstance(found, dict) or "result" not in found:
            raise RpcUnavailable(f"{method}: HTTP {answer.status_code} without a result")
        return found["result"]


class PlainWeb:
    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def status(self, url: str) -> tuple[int, str]:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(trust_env=False, timeout=_SECONDS, follow_redirects=False)
        try:
            async with self._client.stream("GET", url) as answer:
                return answer.status_code, ""
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return 0, f"no answer: {_reason(error)}"

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()


def _number(text: object) -> int:
    try:
        return int(str(text), 16)
    except ValueError:
        raise RpcUnavailable("the node's answer is not a number") from None


def _reason(error: Exception) -> str:
    """Some of httpx's errors have no text."""
    return str(error) or type(error).__name__
