"""The flags of `ogpu-provider register`, by what they answer, and the answers they make."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ogpu_provider.cli import incumbent
from ogpu_provider.domain.errors import ConfigError

if TYPE_CHECKING:
    from ogpu_provider.environment import Secret
    from ogpu_provider.onboarding.sitting import Answers


def _flag(text: str) -> Parameter:
    return Parameter(help=text, show_default=False)


def _switch(text: str) -> Parameter:
    return Parameter(help=text, negative="", show_default=False)


@dataclass(frozen=True, slots=True)
class NetworkFlags:
    network: Annotated[str, _flag("mainnet, testnet or devnet.")] = ""
    rpc_url: Annotated[str, _flag("RPC endpoint, http(s); default: the network's public one.")] = ""
    ws_url: Annotated[str, _flag("WebSocket endpoint for the daemon.")] = ""
    publish_url: Annotated[str, _flag("Pinning service; default: the network's.")] = ""
    gateway_url: Annotated[str, _flag("IPFS gateway; default: the network's.")] = ""


@dataclass(frozen=True, slots=True)
class KeyFlags:
    key: Annotated[str, _flag("Where the key comes from: new, hex, mnemonic, keystore.")] = ""
    key_file: Annotated[Path | None, _flag("File (0600) with the key's hex digits or recovery phrase.")] = None
    key_fd: Annotated[int | None, _flag("Descriptor with the key's hex digits or recovery phrase.")] = None
    account_index: Annotated[int, Parameter(help="Which account of the recovery phrase.")] = 0
    from_keystore: Annotated[Path | None, _flag("A V3 keystore to import the key from.")] = None
    from_password_file: Annotated[Path | None, _flag("File (0600) with that keystore's password.")] = None
    from_password_fd: Annotated[int | None, _flag("Descriptor with that keystore's password.")] = None
    password_file: Annotated[Path | None, _flag("File (0600) with our keystore's password; the daemon uses it.")] = None
    password_fd: Annotated[int | None, _flag("Descriptor with our keystore's password.")] = None
    password_credential: Annotated[str, _flag("systemd credential with our keystore's password.")] = ""
    save_password: Annotated[bool | None, _flag("Keep a typed password in data_dir (0600) for the daemon.")] = None

    @property
    def way(self) -> str:
        if self.key or not (self.key_file or self.key_fd is not None or self.from_keystore):
            return self.key
        return "keystore" if self.from_keystore else "hex"

    def password(self) -> "Secret | None":
        from ogpu_provider.cli.keys import given
        from ogpu_provider.config import wallet_password
        from ogpu_provider.settings import Wallet

        if not self.password_credential:
            return given(self.password_file, self.password_fd)
        if self.password_file or self.password_fd is not None:
            raise ConfigError("several places for one password", code="usage", remedy="give one of them")
        return wallet_password(Wallet(password_credential=self.password_credential))


@dataclass(frozen=True, slots=True)
class HostFlags:
    accept_warnings: Annotated[bool, _switch("Go on whatever the host check finds.")] = False
    skip_host_check: Annotated[bool, _switch("Leave the host check out.")] = False


@dataclass(frozen=True, slots=True)
class MasterFlags:
    master: Annotated[str, _flag("Address of the master.")] = ""
    master_keystore: Annotated[Path | None, _flag("The master's keystore: used once, then forgotten.")] = None
    master_password_file: Annotated[Path | None, _flag("File (0600) with its password.")] = None
    master_password_fd: Annotated[int | None, _flag("Descriptor with its password.")] = None
    wait: Annotated[float, Parameter(help="Seconds to wait for the master's transaction.")] = 600.0
    lockup: Annotated[str, _flag("Coin that the provider is to have locked; default: the network's minimum.")] = ""


@dataclass(frozen=True, slots=True)
class SourceFlags:
    source: Annotated[list[str] | None, _switch("Source to serve; may be repeated; all, or none.")] = None
    environment: Annotated[str, _flag("Run the sources in this environment: cpu, nvidia or amd.")] = ""
    leave_images: Annotated[bool, _switch("Let the daemon pull the images.")] = False
    leave_registration: Annotated[bool, _switch("Let the daemon register, once a source's images run here.")] = False

    def chosen(self, yes: bool) -> tuple[str, ...] | None:
        """None: to be asked. Without a word, a script chooses nothing: serving is a promise."""
        if self.source is None:
            return () if yes else None
        words = tuple(word for text in self.source for word in text.split(",") if word)
        return () if words == ("none",) else words


def answers_of(
    network: NetworkFlags, key: KeyFlags, host: HostFlags, master: MasterFlags, sources: SourceFlags, *, yes: bool
) -> "Answers":
    """Raises ConfigError where flags contradict each other, or a file of a secret cannot be read."""
    from ogpu_provider.cli.keys import given
    from ogpu_provider.onboarding.money import amount
    from ogpu_provider.onboarding.sitting import Answers

    return Answers(
        network=network.network,
        rpc_url=network.rpc_url,
        ws_url=network.ws_url,
        publish_url=network.publish_url,
        gateway_url=network.gateway_url,
        key=key.way,
        secret=given(key.key_file, key.key_fd),
        account_index=key.account_index,
        foreign_keystore=key.from_keystore,
        foreign_password=given(key.from_password_file, key.from_password_fd),
        incumbent=incumbent.take(),
        password=key.password(),
        password_file=key.password_file,
        password_credential=key.password_credential,
        save_password=key.save_password,
        accept_warnings=host.accept_warnings,
        check_host=not host.skip_host_check,
        master=master.master,
        master_keystore=master.master_keystore,
        master_password=given(master.master_password_file, master.master_password_fd),
        lockup=amount(master.lockup, "--lockup") if master.lockup else None,
        wait=master.wait,
        sources=sources.chosen(yes),
        environment=sources.environment,
        pull=not sources.leave_images,
        register_now=not sources.leave_registration,
    )
