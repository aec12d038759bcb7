"""`ogpu-provider gateway webhooks`: what users' endpoints are told."""

from typing import TYPE_CHECKING, Annotated, Literal

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import document, error, printable, table

if TYPE_CHECKING:
    from ogpu_provider.store.orders import GatewayStore

app = cyclopts.App(name="webhooks", help="What users' endpoints are told.")


async def gateway_store(config: ConfigFile) -> "GatewayStore":
    """The gateway's file, also while it runs."""
    from ogpu_provider.config import load
    from ogpu_provider.store.orders import GatewayStore

    return await GatewayStore.beside(load(config).settings.gateway_database)


@app.command(name="list")
async def list_webhooks(
    *,
    state: Annotated[Literal["pending", "delivered", "failed"] | None, Parameter(help="Only these.")] = None,
    limit: int = 50,
    json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show endpoints and what they were told last."""
    from dataclasses import asdict

    from ogpu_provider.domain.webhook import DeliveryState

    store = await gateway_store(config)
    try:
        endpoints = await store.endpoints()
        told = await store.deliveries(state=DeliveryState(state) if state else None, limit=limit)
    finally:
        await store.close()
    shown = [{name: value for name, value in asdict(one).items() if name != "body"} for one in told]
    if json:
        document({"endpoints": [asdict(one) for one in endpoints], "deliveries": shown})
        return
    rows = [
        (printable(e.url), str(e.pending), str(e.delivered), str(e.failed), e.disabled or "told") for e in endpoints
    ]
    table(("ENDPOINT", "PENDING", "DELIVERED", "FAILED", "STATE"), rows)
    table(
        ("DELIVERY", "TASK", "KIND", "TRIES", "STATE", "ANSWER"),
        [(d.id, d.order, d.kind, str(d.tries), d.state, d.answer) for d in told],
    )


@app.command
async def replay(
    delivery: str = "",
    /,
    *,
    url: Annotated[str, Parameter(help="Everything that failed at this endpoint.")] = "",
    config: ConfigFile = None,
) -> int:
    """Tell a delivery again, or all that failed at an endpoint; the gateway does it within half a minute."""
    import time

    store = await gateway_store(config)
    try:
        told = await store.replay(time.time(), delivery=delivery or None, url=url or None)
    finally:
        await store.close()
    if told == 0:
        error("nothing to tell again", "webhook.unknown", "`ogpu-provider gateway webhooks list` shows deliveries")
        return 1
    document({"replayed": told})
    return 0


@app.command
async def disable(url: str, /, *, config: ConfigFile = None) -> int:
    """Tell an endpoint nothing more; what waits for it is kept."""
    import time

    store = await gateway_store(config)
    try:
        found = await store.disable(url, "disabled by the operator", at=time.time())
    finally:
        await store.close()
    return _known(found, url)


@app.command
async def enable(url: str, /, *, config: ConfigFile = None) -> int:
    """Tell an endpoint again, beginning with what waits."""
    store = await gateway_store(config)
    try:
        found = await store.enable(url)
    finally:
        await store.close()
    return _known(found, url)


def _known(found: int, url: str) -> int:
    if not found:
        error(f"no such endpoint: {printable(url)}", "webhook.unknown", "`ogpu-provider gateway webhooks list`")
    return 0 if found else 1
