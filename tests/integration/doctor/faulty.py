"""An engine and a node with much wrong about them, as servers that the real doctor asks."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

INFO = {
    "Driver": "vfs",
    "DefaultRuntime": "nvidia",
    "Runtimes": {"nvidia": {}, "runc": {}},
    "SecurityOptions": [],
    "MemoryLimit": False,
    "PidsLimit": False,
    "CpuCfsQuota": True,
    "IPv4Forwarding": False,
    "LiveRestoreEnabled": False,
    "Swarm": {"LocalNodeState": "active"},
    "DockerRootDir": "/",
    "CgroupVersion": "1",
}
VERSION = {"Version": "19.03.15", "ApiVersion": "1.40", "Components": [{"Name": "runc", "Version": "1.0.0-rc10"}]}
ANSWERS: dict[str, Any] = {
    "/_ping": "OK",
    "/info": INFO,
    "/version": VERSION,
    "/containers/json": [],
    "/networks/bridge": {"Name": "bridge", "Id": "b", "IPAM": {"Config": []}},
}


@asynccontextmanager
async def engine(path: Path) -> AsyncIterator[str]:
    """Its address; everybody may speak to its socket."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        found = ANSWERS.get(re.sub(r"^/v1\.\d+", "", request.path))
        if found is None:
            return web.json_response({"message": "no such thing"}, status=404)
        return web.json_response(found) if not isinstance(found, str) else web.Response(text=found)

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    path.chmod(0o666)
    try:
        yield f"unix://{path}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def node(url: str, *, old: int = 600, slow: float = 0.6) -> AsyncIterator[str]:
    """The node at `url` as if its newest block were `old` seconds old and no other came; `slow`: seconds it takes."""
    async with ClientSession() as client:

        async def ask(method: str, *params: Any) -> Any:
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            async with client.post(url, json=body) as answer:
                return await answer.json()

        newest = (await ask("eth_getBlockByNumber", "latest", False))["result"]
        newest["timestamp"] = hex(int(newest["timestamp"], 16) - old)

        async def reply(asked: dict[str, Any]) -> dict[str, Any]:
            if asked["method"] == "eth_blockNumber":
                return {"jsonrpc": "2.0", "id": asked["id"], "result": newest["number"]}
            if asked["method"] == "eth_getBlockByNumber" and asked["params"][0] == "latest":
                await asyncio.sleep(slow)
                return {"jsonrpc": "2.0", "id": asked["id"], "result": newest}
            return {**await ask(asked["method"], *asked["params"]), "id": asked["id"]}

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            asked = json.loads(await request.read())
            many = [await reply(one) for one in asked] if isinstance(asked, list) else await reply(asked)
            return web.json_response(many)

        runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def compose(folder: Path) -> Path:
    """A compose command of long ago."""
    path = folder / "docker-compose"
    path.write_text('#!/bin/sh\necho "Docker Compose version v2.10.2"\n')
    os.chmod(path, 0o755)
    return path
