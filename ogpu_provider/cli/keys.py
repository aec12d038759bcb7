"""`ogpu-provider keys`: a key in its encrypted keystore. No secret is ever an argument."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import document, facts
from ogpu_provider.domain.errors import ConfigError, KeyRefused
from ogpu_provider.domain.units import Address
from ogpu_provider.environment import Secret

if TYPE_CHECKING:
    from ogpu_provider.settings import Settings

app = cyclopts.App(
    name="keys", help="The provider's key, or the gateway's. The master's key never belongs on this host."
)

PasswordFile = Annotated[Path | None, Parameter(help="Read the password from this file (mode 0600), not a prompt.")]
PasswordFd = Annotated[int | None, Parameter(help="Read the password from this open file descriptor.")]
KeyFile = Annotated[Path | None, Parameter(help="Read the private key from this file (mode 0600), not a prompt.")]
KeyFd = Annotated[int | None, Parameter(help="Read the private key from this open file descriptor.")]
Account = Annotated[Literal["provider", "gateway"], Parameter(help="Whose key.")]


@app.command
async def create(
    *,
    account: Account = "provider",
    password_file: PasswordFile = None,
    password_fd: PasswordFd = None,
    json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Make a new key in an encrypted keystore, and print its address."""
    from ogpu_provider.config import load
    from ogpu_provider.keys import keystore

    settings = load(config).settings
    path = _keystore(settings, account)
    password = _new_password(settings, account, password_file, password_fd)
    _report(await keystore.create(path, password.reveal()), path, json)


@app.command(name="import")
async def import_key(
    *,
    account: Account = "provider",
    key_file: KeyFile = None,
    key_fd: KeyFd = None,
    password_file: PasswordFile = None,
    password_fd: PasswordFd = None,
    json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Keep a private key, 64 hex digits, in an encrypted keystore, and print its address."""
    from ogpu_provider.config import load
    from ogpu_provider.keys import keystore

    settings = load(config).settings
    path = _keystore(settings, account)
    key = given(key_file, key_fd) or _asked("private key: ")
    password = _new_password(settings, account, password_file, password_fd)
    _report(await keystore.import_key(path, key.reveal(), password.reveal()), path, json)


@app.command
def show(*, account: Account = "provider", json: AsJson = False, config: ConfigFile = None) -> None:
    """Print the address and the keystore's path. Needs no password."""
    from ogpu_provider.config import load
    from ogpu_provider.keys import keystore

    path = _keystore(load(config).settings, account)
    _report(keystore.address_of(path), path, json)


def _keystore(settings: "Settings", account: str) -> Path:
    return settings.gateway_keystore if account == "gateway" else settings.keystore


def _report(address: Address | None, path: Path, json: bool) -> None:
    if json:
        document({"address": address, "keystore": str(path)})
    else:
        facts((("address", address or "not named in the file"), ("keystore", path)))


def _new_password(settings: "Settings", account: str, file: Path | None, descriptor: int | None) -> Secret:
    """From the options, else from where daemon or gateway will look for it, else asked for twice."""
    from ogpu_provider.config import gateway_password, wallet_password

    password = given(file, descriptor)
    if password is None:
        gateway = account == "gateway"
        password = gateway_password(settings.gateway) if gateway else wallet_password(settings.wallet)
    if password is None:
        password = _asked("new password for the keystore: ")
        if password.reveal() != _asked("once more: ").reveal():
            raise KeyRefused("the two passwords differ", code="key.password", remedy="try again")
    return password


def given(file: Path | None, descriptor: int | None) -> Secret | None:
    from ogpu_provider.config import secret_from_descriptor, secret_from_file

    if file is not None and descriptor is not None:
        raise ConfigError("a file and a descriptor for the same secret", code="usage", remedy="give one of them")
    if descriptor is not None:
        return secret_from_descriptor(descriptor)
    return secret_from_file(file) if file is not None else None


def _asked(prompt: str) -> Secret:
    import getpass

    if not sys.stdin.isatty():
        raise ConfigError(
            f"no terminal to ask for the {prompt.strip(': ')}",
            code="key.no_terminal",
            remedy="give --key-file/--password-file or --key-fd/--password-fd, or set password_file in the settings",
        )
    return Secret(getpass.getpass(prompt))
