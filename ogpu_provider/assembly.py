"""What several processes need, built from the settings: network, endpoints, the key that signs, images."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ogpu_provider import config
from ogpu_provider.chain.networks import Network, devnet, named, several
from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.keys import keystore
from ogpu_provider.keys.client_policy import ClientPolicy
from ogpu_provider.keys.policy import Policy as SigningPolicy
from ogpu_provider.keys.signer import Signer
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.images import ImagePolicy, Images
from ogpu_provider.runtime.pull import Patience
from ogpu_provider.runtime.registry import Login, Registries
from ogpu_provider.runtime.shelf import Shelf
from ogpu_provider.settings import Settings

SIGNED_PER_PAID = 10
"""A first offer survives a doubled base fee and has gas to spare: most of what is signed for is never paid."""


def network_of(settings: Settings) -> Network:
    """The network that the settings describe, with the operator's endpoints in place of the public ones."""
    chosen = settings.network
    if chosen.name == "devnet":
        return devnet(chosen.rpc_url or "", chosen.ws_url or "", chosen.publish_url or "", chosen.gateway_url or "")
    return named(chosen.name).at(
        http_url=chosen.rpc_url or "",
        ws_url=chosen.ws_url or "",
        pin_url=chosen.publish_url or "",
        gateway_url=chosen.gateway_url or "",
    )


def endpoints(settings: Settings, network: Network) -> list[Network]:
    """The network through every endpoint that the operator names; through its public one where there is none."""
    chosen = settings.network
    if chosen.rpc_urls and not (chosen.rpc_url or chosen.ws_url):
        network = replace(network, http_url="", ws_url="")
    return several(network, chosen.rpc_urls)


def open_pool(settings: Settings, network: Network) -> RpcPool:
    """All endpoints as one."""
    return RpcPool([Rpc(end) for end in endpoints(settings, network)], rate=settings.network.rpc_rate)


def open_images(
    settings: Settings, engine: Engine, clock: Clock, learn_rate: Callable[[float], None] = lambda _rate: None
) -> Images:
    """What pulls images here, with the operator's accounts. Raises ConfigError for a file of theirs that is no good."""
    chosen = settings.images
    logins = {host: _login(config.secret_from_file(path).reveal(), path) for host, path in chosen.credentials.items()}
    return Images(
        engine,
        Registries(Fetcher(allow_private=settings.network.allow_private_urls, places=chosen.registries), logins),
        Shelf(settings.images_list),
        clock,
        ImagePolicy(
            most=chosen.most_gib << 30,
            patience=Patience(total=settings.execution.pull_timeout, stalled=chosen.stall_timeout),
        ),
        learn_rate=learn_rate,
    )


def _login(text: str, path: Path) -> Login:
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise ConfigError(f"{path}: not user:password", code="config.secret", remedy="write both on its first line")
    return Login(user, password)


async def open_signer(settings: Settings, network: Network) -> Signer:
    """Unlock the provider key. Raises KeyRefused, and ConfigError where the settings name no password."""
    password = config.wallet_password(settings.wallet)
    if password is None:
        raise ConfigError(
            "the settings do not say where the keystore's password is",
            code="config.password",
            remedy="set wallet.password_file, wallet.password_credential or wallet.password_fd",
        )
    key = await keystore.unlock(settings.keystore, password.reveal())
    policy = SigningPolicy(
        network.chain_id, key.address, network.nexus, network.terminal, fee_cap=settings.fees.max_fee
    )
    return Signer(key, policy, day_cap=day_cap(settings))


def client_rules(settings: Settings, network: Network, client: Address) -> ClientPolicy:
    """What the gateway's key may sign."""
    return ClientPolicy(
        network.chain_id,
        client,
        network.controller,
        fee_cap=settings.fees.max_fee,
        payment_cap=settings.gateway.max_payment,
    )


def day_cap(settings: Settings) -> Wei:
    """The signer's own limit behind the sender's budget: what it signs may cost, not what was paid."""
    return SIGNED_PER_PAID * settings.fees.day_budget
