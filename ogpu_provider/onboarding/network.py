"""Step 1: which network, and whether the nodes are really on it."""

from collections.abc import Mapping
from dataclasses import replace

from ogpu_provider import assembly, config, configfile
from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.domain.errors import ConfigError, RpcUnavailable, WrongNetwork
from ogpu_provider.onboarding.forward import Forward
from ogpu_provider.onboarding.sitting import ALREADY, DONE, OnboardingError, Sitting, StepResult
from ogpu_provider.settings import Settings

NAMES = ("mainnet", "testnet", "devnet")
HEARING, HEARING_S = 30, 0.1
"""How often all endpoints are given a chance to say how high they are, and seconds in between."""


async def choose(ctx: Sitting) -> StepResult:
    """Check chain id and contracts, then write the choice down. Raises ConfigError, WrongNetwork, RpcUnavailable."""
    standing = config.written(ctx.file)
    name = _name(ctx, str(standing.get("network.name", "")))
    changes: dict[str, configfile.Value | None] = {"network.name": name}
    for key in ("rpc_url", "ws_url", "publish_url", "gateway_url"):
        if given := getattr(ctx.answers, key):
            changes[f"network.{key}"] = given
    if name == "devnet":
        changes |= _devnet(ctx, standing, changes)
    already = all(standing.get(key) == value for key, value in changes.items())
    await _connect(ctx, config.load(ctx.file, changes=changes).settings)
    ctx.amend(changes)
    ctx.talk.say(f"Network: {ctx.network.name}, chain {ctx.network.chain_id}, its contracts are there.")
    facts = {"network": ctx.network.name, "chain_id": ctx.network.chain_id, "config": str(ctx.file)}
    return StepResult("network", ALREADY if already else DONE, facts)


async def connect(ctx: Sitting) -> None:
    """For a host whose network is chosen. Raises ConfigError, WrongNetwork, RpcUnavailable."""
    await _connect(ctx, ctx.settings)


def _name(ctx: Sitting, standing: str) -> str:
    name = ctx.answers.network or standing
    if not name:
        name = ctx.talk.ask("Which network (mainnet, testnet, devnet)?", flag="--network", default="mainnet")
    if name not in NAMES:
        raise ConfigError(
            f"no network is named {name!r}", code="usage.network", remedy=f"choose from {', '.join(NAMES)}"
        )
    if standing and name != standing:
        raise OnboardingError(
            f"{ctx.file} or the environment is for {standing}, not for {name}",
            code="register.other_network",
            remedy="use a configuration file and a data directory of its own for each network (--config)",
        )
    return name


def _devnet(
    ctx: Sitting, standing: Mapping[str, object], changes: Mapping[str, object]
) -> dict[str, configfile.Value | None]:
    """A devnet has no fixed address, lives on this host, and is fast."""
    found: dict[str, configfile.Value | None] = {"network.allow_private_urls": True}
    if "network.confirmations" not in standing:
        found["network.confirmations"] = 1
    known = standing.keys() | changes.keys()
    if not known & {"network.rpc_url", "network.rpc_urls"}:
        found["network.rpc_url"] = ctx.talk.ask("RPC URL of the devnet?", flag="--rpc-url")
    if "network.publish_url" not in known:
        found["network.publish_url"] = ctx.talk.ask("Its pinning service's URL?", flag="--publish-url")
    return found


async def _connect(ctx: Sitting, settings: Settings) -> None:
    """Through every endpoint that the daemon will use. By HTTP where there is any: a sitting asks little, and what it
    asks must not hang on a socket."""
    network = assembly.network_of(settings)
    ends = assembly.endpoints(settings, network)
    plain = [replace(end, ws_url="") for end in ends if end.http_url] or ends
    pool = await ctx.stack.enter_async_context(RpcPool([Rpc(end) for end in plain], rate=settings.network.rpc_rate))
    try:
        await pool.call("eth_blockNumber")
    except WrongNetwork as error:
        raise WrongNetwork(
            f"{error}; nothing was written", remedy="give --rpc-url of the network that you mean, or another --network"
        ) from error
    except RpcUnavailable as error:
        raise RpcUnavailable(
            f"the RPC endpoint does not answer ({error}); nothing was written",
            remedy="check network.rpc_url (--rpc-url of `register`) and the way to it, then run this again",
        ) from error
    head = await _highest(ctx, pool)
    for one in pool.health():
        if not one.healthy:
            ctx.talk.say(f"Network: the endpoint {one.name} is left out: {one.reason}")
        elif one.head < head:
            ctx.talk.say(
                f"Network: the endpoint {one.name} is {head - one.head} blocks behind; what it says is not used"
            )
    ctx.opened(network, Forward(pool, ctx.clock, head))


async def _highest(ctx: Sitting, pool: RpcPool) -> int:
    """The newest block that any endpoint has; one that does not answer in time is not waited for."""
    for _ in range(HEARING):
        health = pool.health()
        if not pool.several or all(one.head >= 0 or one.errors for one in health):
            break
        await ctx.clock.sleep(HEARING_S)
    return max(one.head for one in pool.health())
