"""JSON-RPC to one node, by websocket where there is one and by pooled HTTP otherwise.

One request per wanted call: nothing is asked in secret, nothing is cached, nothing is retried except a read on a
pooled connection that the node had closed. The methods are the whole interface: a pool of several nodes can stand
in its place.
"""

import asyncio
import random as _random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.news import Json, LogId, NewsStream
from ogpu_provider.chain.socket import Socket
from ogpu_provider.chain.wire import Busy, Call, JsonRpcError, outcome, retry_after
from ogpu_provider.domain.clock import Clock, SystemClock
from ogpu_provider.domain.errors import ConfigError, RpcUnavailable, WrongNetwork

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from web3 import AsyncHTTPProvider
    from web3.types import RPCEndpoint

log = structlog.get_logger(__name__)

_HTTP_BATCH = 100  # calls in one HTTP request; hosted nodes refuse more
_CONNECTIONS = 16


def probe(network: Network) -> list[Call]:
    """The calls that tell whether a node is on `network`."""
    return [("eth_chainId", ()), *(("eth_getCode", (address, "latest")) for address in network.contracts)]


def judge(network: Network, answers: Sequence[Any]) -> None:
    """Raises WrongNetwork, or RpcUnavailable where the node would not say."""
    for answer in answers:
        if isinstance(answer, JsonRpcError):
            raise RpcUnavailable(f"the node does not say which network it is on: {answer}") from answer
    chain_id, *codes = answers
    try:
        found = int(chain_id, 16)
    except (TypeError, ValueError) as err:
        raise RpcUnavailable("the node's chain id is not a number") from err
    if found != network.chain_id:
        raise WrongNetwork(
            f"the node is on chain {found}, not on {network.name} ({network.chain_id})",
            remedy="give the RPC URL of the network that you mean to serve",
        )
    for address, code in zip(network.contracts, codes, strict=True):
        if not isinstance(code, str) or len(code) <= 2:
            raise WrongNetwork(f"there is no contract at {address} on this node's chain {found}")


class Rpc:
    """A node, as `async with Rpc(network) as rpc`. Entering does not wait for the node.

    Every method raises RpcUnavailable (no answer: network, time-out, 5xx, 429, broken JSON) or WrongNetwork; chain id
    and contracts are checked on every new connection, and over HTTP again after every failure. `counts` has the
    requests made, by method.
    """

    def __init__(
        self,
        network: Network,
        *,
        timeout: float = 10.0,
        clock: Clock | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        if not network.http_url and not network.ws_url:
            raise ConfigError("there is no RPC URL", remedy="set rpc.http_url or rpc.ws_url")
        self.network = network
        self.counts: Counter[str] = Counter()
        self._group = asyncio.TaskGroup()
        self._runner: asyncio.Task[None] | None = None
        self._http = _Http(network.http_url, timeout, self.counts, network) if network.http_url else None
        self._socket: Socket | None = None
        if network.ws_url:
            self._socket = Socket(
                network.ws_url,
                timeout=timeout,
                clock=clock or SystemClock(),
                random=random,
                counts=self.counts,
                probe=probe(network),
                judge=lambda answers: judge(network, answers),
            )

    async def __aenter__(self) -> "Rpc":
        await self._group.__aenter__()
        if self._socket is not None:
            self._runner = self._group.create_task(self._socket.run(), name="rpc socket")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            self._runner.cancel()
        try:
            if isinstance(error, asyncio.CancelledError):  # perhaps the group's own, because the socket's task died
                await self._group.__aexit__(kind, error, trace)
            else:
                await self._group.__aexit__(None, None, None)  # the body's error leaves as itself, not in a group
        finally:
            if self._http is not None:
                await self._http.close()

    @property
    def name(self) -> str:
        """Host and port: the rest of a URL may hold a key of the operator."""
        parts = urlsplit(self.network.http_url or self.network.ws_url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    @property
    def pushes(self) -> bool:
        """Whether new heads can be subscribed to; otherwise they have to be asked for."""
        return self._socket is not None

    @property
    def socket_open(self) -> bool | None:
        """Whether the websocket is connected; None without one."""
        return None if self._socket is None else self._socket.open

    @property
    def cut(self) -> str:
        """Why there is no way to ask at all, empty where there is one: HTTP needs no connection."""
        return "" if self._socket is None or self._http is not None else self._socket.lost

    async def call(self, method: str, *params: Any) -> Any:
        """One request. Raises JsonRpcError (an RpcRejected) if the node says no."""
        [answer] = await self.batch([(method, params)])
        if isinstance(answer, JsonRpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        """Several requests in one round trip; answers in order, a refusal among them as a value."""
        if not calls:
            return []
        socket = self._socket
        if socket is not None:
            await socket.settled()
            if socket.ready or self._http is None:
                return await socket.exchange(calls)
        assert self._http is not None
        return await self._http.exchange(calls)

    async def attributed(self, calls: Sequence[Call]) -> tuple[list[Any | JsonRpcError], str]:
        """Like `batch`, and whose answers they are."""
        return await self.batch(calls), self.name

    async def elsewhere(self, calls: Sequence[Call], than: str) -> list[Any | JsonRpcError] | None:
        """What another node says: there is none here."""
        return None

    async def subscribe(self, wanted: Json | None = None) -> NewsStream:
        """New headers as they are announced, and logs that fit the filter `wanted` where the node announces them.

        Raises RpcUnavailable without a websocket, or without its connection; JsonRpcError where headers are refused.
        """
        if self._socket is None:
            raise RpcUnavailable("the node has no websocket")
        await self._socket.settled()
        return await self._socket.subscribe(wanted, self.name)

    def seconded(self, log: LogId) -> bool:
        """Whether two endpoints announced this log: there is one here."""
        return False

    async def check_network(self) -> None:
        """Raises WrongNetwork unless the node is on our network and has its contracts."""
        judge(self.network, await self.batch(probe(self.network)))


class _Http:
    """web3's HTTP provider over a session of our own. web3 is imported at the first use: it takes more than a second,
    which a daemon on a websocket need not spend."""

    def __init__(self, url: str, timeout: float, counts: Counter[str], network: Network) -> None:
        self._url = url
        self._timeout = timeout
        self._counts = counts
        self._network = network
        self._session: ClientSession | None = None
        self._provider: AsyncHTTPProvider | None = None
        self._opening = asyncio.Lock()
        self._lock = asyncio.Lock()
        self._checked = False

    async def exchange(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        if not self._checked:
            async with self._lock:
                if not self._checked:
                    judge(self._network, await self._answers(probe(self._network)))
                    self._checked = True
        try:
            return await self._answers(calls)
        except RpcUnavailable:
            self._checked = False  # who answers next may be another node
            raise

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _answers(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        if len(calls) == 1:
            [(method, params)] = calls
            return [outcome(method, await self._single(method, params))]
        answers: list[Any | JsonRpcError] = []
        for start in range(0, len(calls), _HTTP_BATCH):
            answers += await self._several(calls[start : start + _HTTP_BATCH])
        return answers

    async def _single(self, method: str, params: Sequence[Any]) -> Any:
        provider = await self._ready()
        self._counts[method] += 1
        again = not method.startswith("eth_send")
        return await self._translated(method, again, lambda: provider.make_request(_endpoint(method), list(params)))

    async def _several(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        provider = await self._ready()
        for method, _ in calls:
            self._counts[method] += 1
        requests = [(_endpoint(method), list(params)) for method, params in calls]
        again = not any(method.startswith("eth_send") for method, _ in calls)
        found = await self._translated("a batch", again, lambda: provider.make_batch_request(requests))
        if isinstance(found, Mapping):
            outcome("a batch", found)  # one refusal for all of it: raises where that is for being busy
        if not isinstance(found, list) or len(found) != len(calls):
            raise RpcUnavailable("the node did not answer every call of a batch")
        return [outcome(method, one) for (method, _), one in zip(calls, found, strict=True)]

    async def _translated(self, what: str, again: bool, request: Callable[[], Awaitable[Any]]) -> Any:
        from aiohttp import ClientError, ClientResponseError, ServerDisconnectedError

        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await request()
                except (ServerDisconnectedError, ConnectionResetError):
                    if not again:
                        raise
                    return await request()  # a pooled connection that the node had closed meanwhile
        except TimeoutError as err:
            raise RpcUnavailable(f"{what}: no answer in {self._timeout:g} s") from err
        except ClientResponseError as err:
            said = retry_after(err.headers.get("Retry-After")) if err.headers else None
            if err.status == 429 or said is not None:
                raise Busy(f"{what}: HTTP {err.status}", said) from err
            raise RpcUnavailable(f"{what}: HTTP {err.status}") from err
        except (ClientError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
            raise RpcUnavailable(f"{what}: {type(err).__name__}") from err

    async def _ready(self) -> "AsyncHTTPProvider":
        if self._provider is None:
            async with self._opening:
                if self._provider is None:
                    try:
                        self._session = self._session or _session(self._timeout)
                        self._provider = await asyncio.to_thread(_http_provider, self._url, self._session)
                    except (OSError, ImportError) as err:  # no descriptor is left to read web3's files by
                        raise RpcUnavailable(f"HTTP cannot be had: {err}") from err
        return self._provider


def _http_provider(url: str, session: "ClientSession") -> "AsyncHTTPProvider":
    from web3 import AsyncHTTPProvider
    from web3._utils.http_session_manager import HTTPSessionManager

    class Sessions(HTTPSessionManager):
        """Our session, always. The cache of web3's takes a lock in a thread for each request, and a time-out
        meanwhile leaves it locked."""

        async def async_make_post_request(self, endpoint_uri: Any, data: Any, **terms: Any) -> bytes:
            async with session.post(endpoint_uri, data=data, **terms) as response:
                return await response.read()

    provider = AsyncHTTPProvider(url, exception_retry_configuration=None)
    provider._request_session_manager = Sessions()
    return provider


def _session(timeout: float) -> "ClientSession":
    from aiohttp import ClientSession, ClientTimeout, TCPConnector

    return ClientSession(
        raise_for_status=True,
        timeout=ClientTimeout(total=timeout),
        connector=TCPConnector(limit=_CONNECTIONS, keepalive_timeout=30),
    )


def _endpoint(method: str) -> "RPCEndpoint":
    return method  # type: ignore[return-value]
