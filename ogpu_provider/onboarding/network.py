"""Step 1: which network, and whether the node is really on it."""

from dataclasses import replace

from ogpu_provider import configfile
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.domain.errors import ConfigError, RpcUnavailable, WrongNetwork
from ogpu_provider.onboarding.sitting import ALREADY, DONE, OnboardingError, Sitting, StepResult

NAMES = ("mainnet", "testnet", "devnet")


async def choose(ctx: Sitting) -> StepResult:
    """Check chain id and contracts, then write the choice down. Raises ConfigError, WrongNetwork, RpcUnavailable."""
    _, tree = configfile.read(ctx.file)
    written = tree.get("network", {}) if isinstance(tree.get("network"), dict) else {}
    name = _name(ctx, str(written.get("name", "")))
    changes: dict[str, configfile.Value | None] = {"network.name": name}
    for key in ("rpc_url", "ws_url", "publish_url", "gateway_url"):
        if given := getattr(ctx.answers, key):
            changes[f"network.{key}"] = given
    if name == "devnet":
        changes |= _devnet(ctx, written, changes)
    url = str(changes.get("network.rpc_url") or written.get("rpc_url") or "")
    already = ctx.file.exists() and all(written.get(key.partition(".")[2]) == value for key, value in changes.items())
    await _connect(ctx, name, url)
    ctx.amend(changes)
    network = replace(ctx.network_of(ctx.settings), http_url=ctx.network.http_url, ws_url="")
    ctx.opened(network, ctx.rpc)
    ctx.talk.say(f"Network: {network.name}, chain {network.chain_id}, its contracts are there.")
    facts = {"network": network.name, "chain_id": network.chain_id, "config": str(ctx.file)}
    return StepResult("network", ALREADY if already else DONE, facts)


async def connect(ctx: Sitting) -> None:
    """For a host whose network is chosen. Raises ConfigError, WrongNetwork, RpcUnavailable."""
    network = ctx.network_of(ctx.settings)
    await _connect(ctx, network.name, network.http_url)


def _name(ctx: Sitting, written: str) -> str:
    name = ctx.answers.network or written
    if not name:
        name = ctx.talk.ask("Which network (mainnet, testnet, devnet)?", flag="--network", default="mainnet")
    if name not in NAMES:
        raise ConfigError(
            f"no network is named {name!r}", code="usage.network", remedy=f"choose from {', '.join(NAMES)}"
        )
    if written and name != written:
        raise OnboardingError(
            f"{ctx.file} is for {written}, not for {name}",
            code="register.other_network",
            remedy="use a configuration file and a data directory of its own for each network (--config)",
        )
    return name


def _devnet(
    ctx: Sitting, written: dict[str, object], changes: dict[str, configfile.Value | None]
) -> dict[str, configfile.Value | None]:
    """A devnet has no fixed address, lives on this host, and is fast."""
    found: dict[str, configfile.Value | None] = {"network.allow_private_urls": True}
    if "confirmations" not in written:
        found["network.confirmations"] = 1
    for key, question in (("rpc_url", "RPC URL of the devnet?"), ("publish_url", "Its pinning service's URL?")):
        if not (changes.get(f"network.{key}") or written.get(key)):
            found[f"network.{key}"] = ctx.talk.ask(question, flag="--" + key.replace("_", "-"))
    return found


async def _connect(ctx: Sitting, name: str, url: str) -> None:
    """By HTTP alone: a sitting asks little, and what it asks must not hang on a socket."""
    from ogpu_provider.chain.networks import devnet, named

    network = devnet(url) if name == "devnet" else named(name).at(http_url=url)
    network = replace(network, ws_url="")
    rpc = await ctx.stack.enter_async_context(Rpc(network))
    try:
        await rpc.check_network()
    except WrongNetwork as error:
        raise WrongNetwork(
            f"{error}; nothing was written", remedy="give --rpc-url of the network that you mean, or another --network"
        ) from error
    except RpcUnavailable as error:
        raise RpcUnavailable(
            f"the RPC endpoint does not answer ({error}); nothing was written",
            remedy="check --rpc-url and the way to it, then run this again",
        ) from error
    ctx.opened(network, rpc)
