"""What an operator can set, section by section, with meanings and defaults. `config.py` fills it."""

from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import BeforeValidator, Field, model_validator

from ogpu_provider.choices import AdmissionRules, Breakers, Devices, Health, Owner, Price
from ogpu_provider.domain.units import COIN, Wei
from ogpu_provider.values import (
    Addresses,
    CoinAmount,
    CountByAddress,
    EgressPolicies,
    EgressPolicy,
    EndpointUrls,
    HttpUrl,
    IsolationLevel,
    IsolationLevels,
    ReceiverUrl,
    Registries,
    RegistryFiles,
    Seconds,
    Section,
    Served,
    SocketUrl,
    UserPath,
    listed,
)

APP = "ogpu-provider"


class Network(Section):
    name: Literal["mainnet", "testnet", "devnet"] = Field("mainnet", description="Which OpenGPU network to serve.")
    rpc_url: HttpUrl | None = Field(None, description="RPC endpoint; unset: the network's public one.")
    ws_url: SocketUrl | None = Field(None, description="WebSocket endpoint for new blocks; unset: the network's.")
    rpc_urls: EndpointUrls = Field(
        (),
        description="More endpoints, http and ws, beside rpc_url. Those of one host and port belong together.",
    )
    rpc_rate: Annotated[float, Field(gt=0, le=100_000)] | None = Field(
        None, description="Calls a second to each endpoint; unset: as many as it takes without complaint (429)."
    )
    publish_url: HttpUrl | None = Field(None, description="Where results are pinned; unset: the network's service.")
    gateway_url: HttpUrl | None = Field(None, description="IPFS gateway that links point to; unset: the network's.")
    confirmations: int = Field(3, ge=0, le=1000, description="Blocks on top before a payment counts.")
    allow_private_urls: bool = Field(
        False, description="Fetch documents from private addresses too. Only a devnet may: it lives on this host."
    )

    @model_validator(mode="after")
    def _devnet_only(self) -> "Network":
        if self.allow_private_urls and self.name != "devnet":
            raise ValueError("allow_private_urls is for a devnet only: on a real network it opens this host's network")
        if self.name == "devnet" and self.rpc_url is None and not self.rpc_urls:
            raise ValueError("a devnet has no fixed address: set rpc_url to what `ogpu-provider devnet up` printed")
        return self


class Wallet(Section):
    keystore: UserPath | None = Field(
        None, description="Encrypted keystore (V3) of the provider key; unset: keystore.json in data_dir."
    )
    password_file: UserPath | None = Field(
        None, description="File with the keystore's password, readable by its owner only."
    )
    password_credential: str | None = Field(
        None, pattern=r"^[A-Za-z0-9._-]+$", description="Name of the systemd credential with the password."
    )
    password_fd: int | None = Field(None, ge=0, description="Open file descriptor to read the password from, once.")


class Sources(Section):
    serve: Served = Field((), description='Source addresses to serve, or "all". Empty: none.')
    deny: Addresses = Field((), description='Sources never to serve, also under "all".')
    on_change: Literal["ask", "same-images", "never"] = Field(
        "ask",
        description="A source's changed compose file: ask for `sources approve` before it runs; same-images: run one "
        "that passes the gate and names the same images; never: serve only the file that was first approved.",
    )
    idle_after: Seconds | None = Field(
        None,
        description="Seconds without a task after which a source's containers go down where another source needs its "
        "devices; unset: never.",
    )
    memory_free: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of this host's memory to keep free: where less is available, the source idle longest goes "
        "down, and comes up again for its next task. 0: never.",
    )
    device_memory_free: float = Field(
        0.0, ge=0, le=1, description="The same for the memory of each GPU, and the sources on it. 0: never."
    )
    warm_for: Seconds = Field(
        300.0, description="Seconds since its start or last task that a source stays up, however little memory is left."
    )
    devices: CountByAddress = Field(
        {}, description='Per source, how many devices it gets if its author asks for all: {"0x…" = 2}. Unset: one.'
    )
    egress: EgressPolicies = Field(
        {}, description='Per source, what its containers may reach, in place of runtime.egress: {"0x…" = "none"}.'
    )
    isolation: IsolationLevels = Field(
        {}, description='Per source, its level in place of runtime.isolation: {"0x…" = "gvisor"}.'
    )


class Fees(Section):
    max_fee_gwei: float = Field(
        500.0, gt=0, le=1_000_000, allow_inf_nan=False, description="Most to pay for one gas, in gwei."
    )
    day_budget: CoinAmount = Field(
        100 * COIN, description='Most to pay for gas within 24 hours, in coin: "100". What is in flight counts.'
    )

    @property
    def max_fee(self) -> Wei:
        """In wei per gas."""
        return int(self.max_fee_gwei * 10**9)


class Execution(Section):
    response_margin: Seconds = Field(10.0, description="Seconds before expiry when the result must be there.")
    max_run: Seconds = Field(3600.0, description="Seconds after which a task is given up.")
    ready_timeout: Seconds = Field(300.0, description="Seconds for a started project to answer.")
    restarts: int = Field(
        5,
        ge=1,
        le=1000,
        description="Ends and failed starts of a source's containers within an hour after which it is paused until "
        "`sources retry`.",
    )
    pull_timeout: Seconds = Field(1800.0, description="Seconds for one image to be pulled.")
    result_limit: int = Field(32 << 20, gt=0, le=1 << 30, description="Largest result, in bytes.")


class ImageRules(Section):
    most_gib: int = Field(64, ge=1, le=4096, description="Largest image to pull, compressed, in GiB.")
    stall_timeout: Seconds = Field(120.0, description="Seconds without progress after which a pull is given up.")
    check_every: Seconds | None = Field(
        21600.0,
        description="Seconds between two looks at what registries have under the tags of served sources; "
        "unset: only when a source's containers start.",
    )
    registries: Registries = Field(
        (),
        description="Registries at other ports than 443 that images may come from: "
        '["registry.example:5000"]. Their addresses must be public all the same.',
    )
    credentials: RegistryFiles = Field(
        {}, description='Per registry, a file of mode 0600 with user:password: {"ghcr.io" = "/etc/ogpu/ghcr"}.'
    )


class Callback(Section):
    host: str = Field("auto", min_length=1, description="Address that containers post to; auto: the bridge gateway.")
    port: int = Field(0, ge=0, le=65535, description="Its port; 0: a free one is chosen once and remembered.")


class Runtime(Section):
    engine: Literal["docker", "processes"] = Field(
        "docker", description="What runs sources. processes is for the demo on a devnet: it isolates nothing."
    )
    docker_host: str | None = Field(None, description="Engine's socket, unix:///…; unset: the engine's default.")
    compose: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        (), description="Compose command, as a list of words; empty: the first one found that is new enough."
    )
    instance: str = Field(
        "default", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$", description="Tells several daemons on one engine apart."
    )
    egress: EgressPolicy = Field(
        "internet",
        description="What containers may reach: internet (no private networks), callback-only, none (no results then).",
    )
    isolation: IsolationLevel = Field(
        "hardened",
        description="How far containers are kept from this host. user-namespace: only on an engine that remaps users "
        "or is rootless; gvisor: under the engine's runtime runsc.",
    )
    unfiltered_egress: bool | None = Field(
        None,
        description="Run sources even where egress rules cannot be set, with your network open to them; "
        "unset: on a devnet only.",
    )


class Tier(Section):
    hourly: int = Field(gt=0, description="Tasks within an hour.")
    concurrent: int = Field(gt=0, description="Tasks that are not over.")
    batches: int = Field(gt=0, description="Batches within an hour.")


class Gateway(Section):
    host: str = Field("127.0.0.1", min_length=1, description="Address that the Tasks API listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Its port; 0: a free one, told in the log.")
    keystore: UserPath | None = Field(
        None, description="Encrypted keystore of the gateway's own key; unset: gateway-keystore.json in data_dir."
    )
    password_file: UserPath | None = Field(
        None, description="File with that keystore's password, readable by its owner only."
    )
    max_payment: CoinAmount = Field(COIN, description='Most to pay for one task, in coin: "1".')
    body_limit: int = Field(1 << 20, gt=0, le=64 << 20, description="Largest request body, in bytes.")
    tiers: dict[str, Tier] = Field(
        {}, description="More tiers of keys beside standard and premium, or other limits for them."
    )
    public_url: HttpUrl | None = Field(None, description="Where people reach the API; unset: its address and port.")
    sign_in_budget: CoinAmount | None = Field(
        None,
        description="What an unknown wallet may spend within a UTC day after a sign-in; unset: it may not sign in.",
    )
    provider_data_dir: UserPath | None = Field(
        None, description="data_dir of the provider on this host, for its containers' logs; unset: there is none."
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="Port for Prometheus on the same address; 0: none.")
    keep_days: int = Field(90, ge=7, le=36_500, description="Days after its end for which a task can still be read.")


class Logs(Section):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is written.")
    format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, JSON elsewhere.")


class Alerts(Section):
    """Who is told when something is wrong."""

    url: ReceiverUrl | None = Field(
        None, description="Where alerts are posted to as JSON, https; unset, and no url_file: nobody is told."
    )
    url_file: UserPath | None = Field(
        None, description="File with that URL, readable by its owner only, where it holds a token; in place of url."
    )
    least: Literal["warning", "critical"] = Field(
        "warning", description="critical: only what keeps the provider from earning; warning: what may soon, too."
    )
    after: Seconds = Field(
        120.0, description="Seconds that something must be wrong, or right again, before anybody is told."
    )
    remind_every: Seconds | None = Field(
        21600.0, description="Seconds after which what is still wrong is told again; unset: never."
    )

    @model_validator(mode="after")
    def _one_place(self) -> "Alerts":
        if self.url is not None and self.url_file is not None:
            raise ValueError("give url or url_file, not both")
        return self


class Settings(Section):
    """Everything an operator can set. Amounts in wei, times in seconds, sizes in bytes."""

    data_dir: UserPath = Field(
        default_factory=lambda: platformdirs.user_data_path(APP), description="Journal, logs of tasks, keystore."
    )
    network: Network = Network()
    wallet: Wallet = Wallet()
    sources: Sources = Sources()
    admission: AdmissionRules = AdmissionRules()
    price: Price = Price()
    breakers: Breakers = Breakers()
    owner: Owner = Owner()
    devices: Devices = Devices()
    health: Health = Health()
    execution: Execution = Execution()
    images: ImageRules = ImageRules()
    fees: Fees = Fees()
    callback: Callback = Callback()
    runtime: Runtime = Runtime()
    gateway: Gateway = Gateway()
    alerts: Alerts = Alerts()
    logs: Logs = Logs()

    @model_validator(mode="after")
    def _isolated(self) -> "Settings":
        if self.runtime.engine == "processes" and self.network.name != "devnet":
            raise ValueError("runtime.engine: processes runs sources without isolation, on a devnet only")
        return self

    @property
    def unfiltered_egress(self) -> bool:
        chosen = self.runtime.unfiltered_egress
        return self.network.name == "devnet" if chosen is None else chosen

    @property
    def keystore(self) -> Path:
        return self.wallet.keystore or self.data_dir / "keystore.json"

    @property
    def gateway_keystore(self) -> Path:
        return self.gateway.keystore or self.data_dir / "gateway-keystore.json"

    @property
    def gateway_database(self) -> Path:
        return self.data_dir / "gateway.db"

    @property
    def journal(self) -> Path:
        return self.data_dir / "provider.db"

    @property
    def images_list(self) -> Path:
        """Which of the engine's images are ours, and what the tags of sources stand for."""
        return self.data_dir / "images.json"

    @property
    def task_logs(self) -> Path:
        """Folder of `<task address>.log` files: what containers printed while a task ran."""
        return self.data_dir / "logs"
