"""Where the OGPU contracts live. Endpoints are defaults that an operator may replace; addresses and ids are not."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.units import Address


@dataclass(frozen=True, slots=True)
class Network:
    """One deployment. An empty URL means that there is none; `pin_url` takes results, `gateway_url` serves CIDs."""

    name: str
    chain_id: int
    http_url: str
    ws_url: str
    nexus: Address
    controller: Address
    terminal: Address
    vault: Address
    pin_url: str
    gateway_url: str
    currency: str
    explorer: str

    @property
    def contracts(self) -> tuple[Address, ...]:
        """The contracts that must have code for this to be the network we think it is."""
        return (self.nexus, self.terminal, self.vault)

    @property
    def scope(self) -> str:
        """The chain on which a key's nonces count. Every devnet has the testnet's id: the endpoint tells it apart."""
        end = hashlib.sha256((self.http_url or self.ws_url).encode()).hexdigest()[:16]
        return f"{self.chain_id}-{end}" if self.name == "devnet" else str(self.chain_id)

    def at(self, *, http_url: str = "", ws_url: str = "", pin_url: str = "", gateway_url: str = "") -> "Network":
        """The same network through other endpoints. Giving either RPC URL replaces both."""
        if http_url or ws_url:
            return replace(
                self,
                http_url=http_url,
                ws_url=ws_url,
                pin_url=pin_url or self.pin_url,
                gateway_url=gateway_url or self.gateway_url,
            )
        return replace(self, pin_url=pin_url or self.pin_url, gateway_url=gateway_url or self.gateway_url)


def several(network: Network, urls: Sequence[str]) -> list[Network]:
    """The network through each endpoint: first its own, if it has one, then `urls`.

    An http and a ws URL of the same host and port are one endpoint.
    """
    ends: dict[tuple[str | None, int], dict[str, str]] = {}
    for url in (network.http_url, network.ws_url, *urls):
        parts = urlsplit(url)
        if not url:
            continue
        kind = "ws_url" if parts.scheme in ("ws", "wss") else "http_url"
        place = parts.hostname, parts.port or (443 if parts.scheme in ("https", "wss") else 80)
        if kind == "ws_url" and url == network.ws_url and network.http_url:
            ends[next(iter(ends))][kind] = url  # named together, wherever they are
        else:
            ends.setdefault(place, {}).setdefault(kind, url)
    return [replace(network, http_url=one.get("http_url", ""), ws_url=one.get("ws_url", "")) for one in ends.values()]


MAINNET = Network(
    name="mainnet",
    chain_id=1071,
    http_url="https://mainnet-rpc.ogpuscan.io",
    ws_url="wss://mainnet-rpc.ogpuscan.io",
    nexus=Address("0x2b0cC6058313801D5feb184a539e3a0C5A87a6a1"),
    controller=Address("0x8661F4B9c30e07A04d795A192478dfD905625a1D"),
    terminal=Address("0xaEBC7b712D38Fc4d841f0732c21B8774339869D3"),
    vault=Address("0xa5c582254AA313528898311362bc698b041580cC"),
    pin_url="https://capi.ogpuscan.io/file/create",
    gateway_url="https://cipfs.ogpuscan.io/ipfs/",
    currency="OGPU",
    explorer="https://ogpuscan.io",
)

TESTNET = Network(
    name="testnet",
    chain_id=200820172034,
    http_url="https://testnetrpc.ogpuscan.io",
    ws_url="",
    nexus=Address("0xF87bb2f3edB991a998992f14d35fE142e6Bb50b1"),
    controller=Address("0x9fb6022074Fd7Bdb429de0776eb693cA0CB55E09"),
    terminal=Address("0x1ea332Fc14a5AFD3AF3852B45C263Ab5b1Dd6f52"),
    vault=Address("0x15905a2FbD3EF5d3532b931b5656BB9EB493Bb15"),
    pin_url="https://capi.ogpuscan.io/file/create",
    gateway_url="https://cipfs.ogpuscan.io/ipfs/",
    currency="ToGPU",
    explorer="https://testnet.ogpuscan.io",
)


def devnet(http_url: str, ws_url: str = "", pin_url: str = "", gateway_url: str = "") -> Network:
    """A local network. It has the testnet's id and addresses, so that tools made for OGPU work on it."""
    return replace(
        TESTNET,
        name="devnet",
        http_url=http_url,
        ws_url=ws_url,
        pin_url=pin_url,
        gateway_url=gateway_url,
        explorer="",
    )


def named(name: str) -> Network:
    """A public network by its name. Raises ConfigError."""
    for network in (MAINNET, TESTNET):
        if network.name == name:
            return network
    raise ConfigError(f"no network is named {name!r}", remedy="use mainnet or testnet; a devnet is given by its URLs")
