"""`ogpu-provider keys`: the provider's key in its encrypted keystore. No secret is ever an argument."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import document, facts
from ogpu_provider.domain.errors import ConfigError, KeyRefused
from ogpu_provider.domain.units import Address
from ogpu_provider.environment import Secret

if TYPE_CHECKING:
    from ogpu_provider.settings import Settings

app = cyclopts.App(name="keys", help="The provider's key. The master's key never belongs on this host.")

PasswordFile = Annotated[Path | None, Parameter(help="Read the password from this file (mode 0600), not a prompt.")]
PasswordFd = Annotated[int | None, Parameter(help="Read the password from this open file descriptor.")]
KeyFile = Annotated[Path | None, Parameter(help="Read the private key from this file (mode 0600), not a prompt.")]
KeyFd = Annotated[int | None, Parameter(help="Read the private key from this open file descriptor.")]


@app.command
async def create(
    *,
    password_file: PasswordFile = None,
    password_fd: PasswordFd = None,
    json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Make a new key in an encrypted keystore, and print its address."""
    from ogpu_provider.config import load
    from ogpu_provider.keys import keystore

    settings = load(config).settings
    password = _new_password(settings, password_file, password_fd)
    _report(await keystore.create(settings.keystore, password.reveal()), settings.keystore, json)


@app.command(name="import")
async def import_key(
    *,
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
    key = given(key_file, key_fd) or _asked("private key: ")
    password = _new_password(settings, password_file, password_fd)
    address = await keystore.import_key(settings.keystore, key.reveal(), password.reveal())
    _report(address, settings.keystore, json)


@app.command
def show(*, json: AsJson = False, config: ConfigFile = None) -> None:
    """Print the address and the keystore's path. Needs no password."""
    from ogpu_provider.config import load
    from ogpu_provider.keys import keystore

    path = load(config).settings.keystore
    _report(keystore.address_of(path), path, json)


def _report(address: Address | None, path: Path, json: bool) -> None:
    if json:
        document({"address": address, "keystore": str(path)})
    else:
        facts((("address", address or "not named in the file"), ("keystore", path)))


def _new_password(settings: "Settings", file: Path | None, descriptor: int | None) -> Secret:
    """From the options, else from where the daemon will look for it, else asked for twice."""
    from ogpu_provider.config import wallet_password

    password = given(file, descriptor) or wallet_password(settings.wallet)
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
            remedy="give --key-file/--password-file or --key-fd/--password-fd, or set wallet.password_file",
        )
    return Secret(getpass.getpass(prompt))
