"""Where the OGPU contracts live. Endpoints are defaults that an operator may replace; addresses and ids are not."""

from dataclasses import dataclass, replace

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
