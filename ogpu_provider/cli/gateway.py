"""`ogpu-provider gateway`: the Tasks API, its models and its keys."""

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import document, error, printable, table
from ogpu_provider.cli.webhooks import app as hooks_app
from ogpu_provider.cli.webhooks import gateway_store
from ogpu_provider.domain.errors import ConfigError

app = cyclopts.App(name="gateway", help="The Tasks API: the network over plain HTTP.")
models_app = cyclopts.App(name="models", help="What model ids stand for.")
keys_app = cyclopts.App(name="keys", help="API keys. A key is shown once, when it is made.")
app.command(models_app)
app.command(keys_app)
app.command(hooks_app)


@app.command
async def run(*, config: ConfigFile = None) -> None:
    """Serve the Tasks API until SIGTERM or Ctrl-C."""
    from ogpu_provider import telemetry
    from ogpu_provider.cli.foreground import until_stopped
    from ogpu_provider.config import load
    from ogpu_provider.gateway import process

    settings = load(config).settings
    telemetry.configure(level=settings.logs.level, format=settings.logs.format)
    await until_stopped(process.run(settings, config))


@app.command
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the Tasks API."""
    from ogpu_provider.gateway.app import openapi as described

    document(described())


@models_app.command
async def add(
    model_id: str,
    source: str,
    function: str,
    price: str,
    /,
    *,
    description: str = "",
    environments: Annotated[str, Parameter(help="For people to know: cpu, nvidia, amd; comma-separated.")] = "",
    auto_confirm: Annotated[
        bool, Parameter(help="Of a manual-confirmation source: accept the first response whose result can be read.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Offer a function of a source under an id, for a price in coin a task."""
    from ogpu_provider.cli.journal import whole_address
    from ogpu_provider.domain.order import Model
    from ogpu_provider.domain.units import wei

    _check_id(model_id)
    runs_on = tuple(filter(None, environments.split(",")))
    if not set(runs_on) <= {"cpu", "nvidia", "amd"}:
        raise ConfigError(
            f"{environments!r} names an environment that there is not",
            code="usage.environment",
            remedy="--environments: cpu, nvidia, amd, or some of them",
        )
    try:
        amount = wei(price)
    except ValueError as mistake:
        raise ConfigError(str(mistake), code="usage.amount", remedy="an amount in coin, such as 0.01") from None
    made = Model(model_id, whole_address(source), function, amount, description, auto_confirm, runs_on)
    store = await gateway_store(config)
    try:
        await store.put_model(made)
    finally:
        await store.close()


def _check_id(model_id: str) -> None:
    if not 1 <= len(model_id) <= 100 or not model_id.isprintable() or {" ", "?", "#", "%"} & set(model_id):
        raise ConfigError(
            f"{printable(model_id)!r} cannot be a model's id",
            code="usage.model",
            remedy="1 to 100 characters without blanks, ?, # and %",
        )


@models_app.command
async def remove(model_id: str, /, *, config: ConfigFile = None) -> int:
    """Offer a model no more."""
    store = await gateway_store(config)
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
    from dataclasses import asdict

    from ogpu_provider.domain.units import coin

    store = await gateway_store(config)
    try:
        found = await store.models()
    finally:
        await store.close()
    if json:
        shown = [{"model_id": m.id, **asdict(m), "price": coin(m.price)} for m in found]
        document([{name: value for name, value in one.items() if name != "id"} for one in shown])
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
    wallet: Annotated[str, Parameter(help="Address of a wallet that may sign in for this key.")] = "",
    config: ConfigFile = None,
) -> None:
    """Make a key and print it, once, with the secret that its webhooks are signed with."""
    import time

    from ogpu_provider.cli.journal import whole_address
    from ogpu_provider.config import load
    from ogpu_provider.domain.units import wei
    from ogpu_provider.gateway.access import SCOPES, TIERS, mint

    chosen, tiers = tuple(scopes.split(",")), [*TIERS, *load(config).settings.gateway.tiers]
    for kind, asked, known in (("tier", (tier,), tiers), ("scope", chosen, SCOPES)):
        if wrong := [one for one in asked if one not in known]:
            raise ConfigError(f"there is no {kind} {wrong[0]!r}", code="usage.key", remedy=f"one of {', '.join(known)}")
    try:
        budget = wei(day_budget) if day_budget else None
    except ValueError as mistake:
        raise ConfigError(str(mistake), code="usage.amount", remedy="an amount in coin, such as 0.01") from None
    address = whole_address(wallet) if wallet else ""
    row, key = mint(name, tier=tier, scopes=chosen, day_budget=budget, at=time.time(), address=address)
    store = await gateway_store(config)
    try:
        await store.add_key(row)
    finally:
        await store.close()
    document({"id": row.id, "key": key, "webhook_secret": row.secrets[0]})


@keys_app.command(name="list")
async def list_keys(*, json: AsJson = False, config: ConfigFile = None) -> None:
    """Show every key's id, never the key."""
    from ogpu_provider.domain.units import coin

    store = await gateway_store(config)
    try:
        found = await store.keys()
    finally:
        await store.close()
    rows = [
        (
            k.id,
            k.name,
            k.tier,
            ",".join(k.scopes),
            "" if k.day_budget is None else coin(k.day_budget),
            k.address,
            "revoked" if k.revoked_at else "active",
        )
        for k in found
    ]
    names = ("id", "name", "tier", "scopes", "day_budget", "wallet", "state")
    if json:
        document([dict(zip(names, row, strict=True)) for row in rows])
    else:
        table(tuple(name.replace("_", " ").upper() for name in names), rows)


@keys_app.command
async def revoke(key_id: str, /, *, config: ConfigFile = None) -> int:
    """Refuse a key from now on."""
    import time

    store = await gateway_store(config)
    try:
        if await store.revoke_key(key_id, at=time.time()):
            return 0
        text = f"no key {printable(key_id)} that is not revoked"
        error(text, "key.unknown", "`ogpu-provider gateway keys list` shows their ids")
        return 1
    finally:
        await store.close()


@keys_app.command
async def rotate(key_id: str, /, *, config: ConfigFile = None) -> int:
    """Sign a key's webhooks with a new secret, printed once, beside the newest old one until the next rotation."""
    from ogpu_provider.gateway.webhooks import new_secret

    store = await gateway_store(config)
    try:
        held = await store.key(key_id)
        if held is None:
            error(f"no key {printable(key_id)}", "key.unknown", "`ogpu-provider gateway keys list` shows their ids")
            return 1
        secret = new_secret()
        await store.put_secrets(key_id, (secret, *held.secrets[:1]))
    finally:
        await store.close()
    document({"id": key_id, "webhook_secret": secret})
    return 0
