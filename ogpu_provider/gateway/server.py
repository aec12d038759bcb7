"""The HTTP server of the gateway, with its limits."""

import uvicorn
from starlette.types import ASGIApp

HEADER_LIMIT = 16 << 10
CONNECTIONS = 512
"""Requests beyond them are answered 503."""


async def listen(app: ASGIApp, host: str, port: int) -> None:
    """Serve until canceled. Raises SystemExit where the address is taken."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            lifespan="off",
            http="h11",
            h11_max_incomplete_event_size=HEADER_LIMIT,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=5,
            server_header=False,
        )
    )
    await server._serve()  # `serve` would take the signals, which are the command's
