"""The pinning service and gateway of the local network, speaking the protocol of the public one.

POST /file/create   multipart field "file"   -> 201 {"link": "<gateway>/ipfs/<CIDv0>"}
GET  /ipfs/<cid>                             -> 200 with the content type that was uploaded
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from types import TracebackType
from typing import Self

import aleph_cid
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ogpu_provider.domain.errors import DevnetError

START_TIMEOUT_S = 10.0
OFF_LOOP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredFile:
    body: bytes
    content_type: str
    name: str


class ContentStore:
    """Files by CIDv0, in memory. Raises OverflowError once `max_total_bytes` would be passed."""

    def __init__(self, max_total_bytes: int = 2 << 30) -> None:
        self._files: dict[str, StoredFile] = {}
        self._left = max_total_bytes
        self.uploads = 0
        """Uploads accepted, counting those of content that was there."""

    def __len__(self) -> int:
        return len(self._files)

    async def add(self, file: StoredFile) -> str:
        """Keep a file and return its CID. Content that is there keeps its first name and type."""
        if len(file.body) < OFF_LOOP_BYTES:
            cid = str(aleph_cid.compute_cid(file.body))
        else:
            cid = str(await asyncio.to_thread(aleph_cid.compute_cid, file.body))
        if cid not in self._files:
            if len(file.body) > self._left:
                raise OverflowError("the store is full")
            self._left -= len(file.body)
            self._files[cid] = file
        self.uploads += 1
        return cid

    def get(self, cid: str) -> StoredFile | None:
        return self._files.get(cid)

    def cids(self) -> list[str]:
        return list(self._files)


def pinning_app(store: ContentStore, gateway_url: str, *, max_file_bytes: int = 512 << 20) -> Starlette:
    """The service as an ASGI app; links start with `gateway_url`."""

    async def create(request: Request) -> Response:
        try:
            body = await _limited(request, max_file_bytes + (64 << 10))
            file = form_file(body, request.headers.get("content-type", ""), "file")
        except OverflowError:
            return _problem(413, f"more than {max_file_bytes} bytes")
        except ValueError as error:
            return _problem(400, str(error))
        if len(file.body) > max_file_bytes:
            return _problem(413, f"more than {max_file_bytes} bytes")
        try:
            cid = await store.add(file)
        except OverflowError as error:
            return _problem(507, str(error))
        return JSONResponse({"link": f"{gateway_url}/ipfs/{cid}"}, status_code=201)

    async def read(request: Request) -> Response:
        cid = request.path_params["cid"]
        if (file := store.get(cid)) is None:
            return _problem(404, "no such content here")
        headers = {"ETag": f'"{cid}"', "X-Content-Type-Options": "nosniff"}
        return Response(file.body, headers={**headers, "Content-Type": file.content_type or "application/octet-stream"})

    return Starlette(
        routes=[
            Route("/file/create", create, methods=["POST"]),
            Route("/ipfs/{cid}", read, methods=["GET"]),
        ]
    )


class PinningService:
    """Serve a store on loopback for as long as the context is open. `port` 0 picks a free one."""

    def __init__(
        self,
        store: ContentStore | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        max_file_bytes: int = 512 << 20,
    ) -> None:
        self.store = ContentStore() if store is None else store
        self._address = (host, port)
        self._max_file_bytes = max_file_bytes
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.url = ""

    @property
    def gateway_url(self) -> str:
        """Where links point to; the same server."""
        return self.url

    async def put(self, body: bytes, content_type: str, name: str = "") -> str:
        """Keep content without the detour over HTTP and return its link."""
        return f"{self.gateway_url}/ipfs/{await self.store.add(StoredFile(body, content_type, name))}"

    async def __aenter__(self) -> Self:
        listener = _listen(*self._address)
        self.url = "http://{}:{}".format(*listener.getsockname()[:2])
        app = pinning_app(self.store, self.gateway_url, max_file_bytes=self._max_file_bytes)
        self._server = _Server(
            uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="pinning service")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not self._server.started:
                    if self._serving.done():
                        raise DevnetError("the pinning service did not start", code="devnet.pinning")
                    await asyncio.sleep(0.005)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        assert self._server is not None
        assert self._serving is not None
        self._server.should_exit = True
        await asyncio.wait({self._serving})


class _Server(uvicorn.Server):
    """uvicorn takes over SIGINT and SIGTERM of the whole process otherwise; those are the daemon's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only on sockets that name their protocol, which create_server's do not; without it
    # every answer waits 40 ms for a delayed acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(256)
    except BaseException:
        listener.close()
        raise
    return listener


def form_file(body: bytes, content_type: str, field: str) -> StoredFile:
    """The file in field `field` of a multipart/form-data body, byte for byte.

    Raises ValueError if the body is not one or has no such field. RFC 7578 and 2046: a part starts after CRLF (or at
    the very beginning), two hyphens and the boundary; its end belongs to the next delimiter.
    """
    head = Message()
    head["Content-Type"] = content_type
    boundary = head.get_boundary()
    if head.get_content_type() != "multipart/form-data" or not boundary:
        raise ValueError("not multipart/form-data")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    for part in (b"\r\n" + body).split(delimiter)[1:]:
        if part.startswith(b"--"):
            break
        header_text, separator, content = part.partition(b"\r\n\r\n")
        if not separator:
            raise ValueError("a part of the form is cut")
        headers = BytesHeaderParser().parsebytes(header_text.lstrip(b"\r\n"))
        if headers.get_param("name", header="Content-Disposition") == field:
            return StoredFile(content, _plain(headers.get("Content-Type")), _plain(headers.get_filename()))
    raise ValueError(f"no field {field!r} in the form")


def _plain(value: object) -> str:
    """A header value that can be sent again; empty if it cannot."""
    text = str(value or "")
    return text if text.isascii() and text.isprintable() else ""


async def _limited(request: Request, limit: int) -> bytes:
    body = bytearray()
    chunks: AsyncIterator[bytes] = request.stream()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise OverflowError
    return bytes(body)


def _problem(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"error": detail}, status_code=status)
