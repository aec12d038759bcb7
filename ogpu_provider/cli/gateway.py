"""`ogpu-provider gateway`: the Tasks API, its models and its keys."""

from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import document, error, printable, table
from ogpu_provider.domain.errors import ConfigError

if TYPE_CHECKING:
    from ogpu_provider.store.orders import GatewayStore

app = cyclopts.App(name="gateway", help="The Tasks API: the network over plain HTTP.")
models_app = cyclopts.App(name="models", help="What model ids stand for.")
keys_app = cyclopts.App(name="keys", help="API keys. A key is shown once, when it is made.")
app.command(models_app)
app.command(keys_app)


@app.command
async def run(*, config: ConfigFile = None) -> None:
    """Serve the Tasks API until SIGTERM or Ctrl-C."""
    from ogpu_provider import telemetry
    from ogpu_provider.cli.foreground import until_stopped
    from ogpu_provider.config import load
    from ogpu_provider.gateway import process

    settings = load(config).settings
    telemetry.configure(level=settings.logs.level, format=settings.logs.format)
    await until_stopped(process.run(settings))


@models_app.command
async def add(
    model_id: str, source: str, function: str, price: str, /, *, description: str = "", config: ConfigFile = None
) -> None:
    """Offer a function of a source under an id, for a price in coin a task."""
    from ogpu_provider.cli.journal import whole_address
    from ogpu_provider.domain.order import Model
    from ogpu_provider.domain.units import wei

    store = await _store(config)
    try:
        amount = wei(price)
    except ValueError as mistake:
        raise ConfigError(str(mistake), code="usage.amount") from None
    try:
        await store.put_model(Model(model_id, whole_address(source), function, amount, description))
    finally:
        await store.close()


@models_app.command
async def remove(model_id: str, /, *, config: ConfigFile = None) -> int:
    """Offer a model no more."""
    store = await _store(config)
    try:
        if await store.drop_model(model_id):
            return 0
        error(f"no model {printable(model_id)}", "model.unknown", "`ogpu-provider gateway models list` shows them")
        return 1
    finally:
        await store.close()


@models_app.command(name="list")
async def list_models(*, json: AsJson = False, config: ConfigFile = None) -> None:
    """Show every model."""
    from ogpu_provider.domain.units import coin

    store = await _store(config)
    try:
        found = await store.models()
    finally:
        await store.close()
    if json:
        document(
            [{"model_id": m.id, "source": m.source, "function": m.function, "price": coin(m.price)} for m in found]
        )
    else:
        table(("MODEL", "SOURCE", "FUNCTION", "PRICE"), [(m.id, m.source, m.function, coin(m.price)) for m in found])


@keys_app.command
async def create(
    name: str,
    /,
    *,
    tier: str = "standard",
    scopes: Annotated[str, Parameter(help="Comma-separated.")] = "tasks:read,tasks:write",
    day_budget: Annotated[str, Parameter(help="Most to spend within a UTC day, in coin.")] = "",
    config: ConfigFile = None,
) -> None:
    """Make a key and print it, once."""
    import time

    from ogpu_provider.domain.units import wei
    from ogpu_provider.gateway.access import SCOPES, TIERS, mint

    chosen = tuple(scopes.split(","))
    if tier not in TIERS or not set(chosen) <= set(SCOPES):
        raise ConfigError(f"tiers: {', '.join(TIERS)}; scopes: {', '.join(SCOPES)}", code="usage.key")
    try:
        budget = wei(day_budget) if day_budget else None
    except ValueError as mistake:
        raise ConfigError(str(mistake), code="usage.amount") from None
    row, key = mint(name, tier=tier, scopes=chosen, day_budget=budget, at=time.time())
    store = await _store(config)
    try:
        await store.add_key(row)
    finally:
        await store.close()
    document({"id": row.id, "key": key})


@keys_app.command(name="list")
async def list_keys(*, json: AsJson = False, config: ConfigFile = None) -> None:
    """Show every key's id, never the key."""
    store = await _store(config)
    try:
        found = await store.keys()
    finally:
        await store.close()
    rows = [(k.id, k.name, k.tier, ",".join(k.scopes), "revoked" if k.revoked_at else "active") for k in found]
    names = ("id", "name", "tier", "scopes", "state")
    if json:
        document([dict(zip(names, row, strict=True)) for row in rows])
    else:
        table(tuple(name.upper() for name in names), rows)


@keys_app.command
async def revoke(key_id: str, /, *, config: ConfigFile = None) -> int:
    """Refuse a key from now on."""
    import time

    store = await _store(config)
    try:
        if await store.revoke_key(key_id, at=time.time()):
            return 0
        text = f"no key {printable(key_id)} that is not revoked"
        error(text, "key.unknown", "`ogpu-provider gateway keys list` shows their ids")
        return 1
    finally:
        await store.close()


async def _store(config: ConfigFile) -> "GatewayStore":
    from ogpu_provider.config import load
    from ogpu_provider.store.orders import GatewayStore

    return await GatewayStore.beside(load(config).settings.gateway_database)
