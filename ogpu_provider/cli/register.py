"""`ogpu-provider register`: from a bare host to a registered provider, in one sitting or several."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ogpu_provider.cli import incumbent
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import document
from ogpu_provider.domain.errors import ConfigError, ProviderError

if TYPE_CHECKING:
    from ogpu_provider.doctor.finding import Finding
    from ogpu_provider.environment import Secret
    from ogpu_provider.onboarding.sitting import Answers, HostFinding, StepResult
    from ogpu_provider.settings import Settings

Yes = Annotated[bool, Parameter(name="--yes", negative="", help="Ask nothing: take defaults, confirm what is shown.")]
Text = Annotated[str, Parameter(show_default=False)]


def _flag(text: str) -> Parameter:
    return Parameter(help=text, show_default=False)


SecretFile = Annotated[Path | None, _flag("Read it from this file (mode 0600).")]
SecretFd = Annotated[int | None, _flag("Read it from this open file descriptor.")]


async def register(
    *,
    network: Annotated[str, _flag("mainnet, testnet or devnet.")] = "",
    rpc_url: Annotated[str, _flag("RPC endpoint, http(s); default: the network's public one.")] = "",
    ws_url: Annotated[str, _flag("WebSocket endpoint for the daemon.")] = "",
    publish_url: Annotated[str, _flag("Pinning service; default: the network's.")] = "",
    gateway_url: Annotated[str, _flag("IPFS gateway; default: the network's.")] = "",
    key: Annotated[str, _flag("Where the key comes from: new, hex, mnemonic, keystore.")] = "",
    key_file: Annotated[Path | None, _flag("File (0600) with the key's hex digits or recovery phrase.")] = None,
    key_fd: Annotated[int | None, _flag("Descriptor with the key's hex digits or recovery phrase.")] = None,
    account_index: Annotated[int, Parameter(help="Which account of the recovery phrase.")] = 0,
    from_keystore: Annotated[Path | None, _flag("A V3 keystore to import the key from.")] = None,
    from_password_file: Annotated[Path | None, _flag("File (0600) with that keystore's password.")] = None,
    from_password_fd: Annotated[int | None, _flag("Descriptor with that keystore's password.")] = None,
    password_file: Annotated[
        Path | None, _flag("File (0600) with our keystore's password; the daemon uses it.")
    ] = None,
    password_fd: Annotated[int | None, _flag("Descriptor with our keystore's password.")] = None,
    password_credential: Annotated[str, _flag("systemd credential with our keystore's password.")] = "",
    save_password: Annotated[bool | None, _flag("Keep a typed password in data_dir (0600) for the daemon.")] = None,
    accept_warnings: Annotated[bool, Parameter(negative="", help="Go on whatever the host check finds.")] = False,
    skip_host_check: Annotated[bool, Parameter(negative="", help="Leave the host check out.")] = False,
    master: Annotated[str, _flag("Address of the master.")] = "",
    master_keystore: Annotated[Path | None, _flag("The master's keystore: used once, then forgotten.")] = None,
    master_password_file: Annotated[Path | None, _flag("File (0600) with its password.")] = None,
    master_password_fd: Annotated[int | None, _flag("Descriptor with its password.")] = None,
    lockup: Annotated[str, _flag("Coin that the provider is to have locked; default: the network's minimum.")] = "",
    source: Annotated[list[str] | None, _flag("Source to serve; may be repeated; all, or none.")] = None,
    environment: Annotated[str, _flag("Run the sources in this environment: cpu, nvidia or amd.")] = "",
    leave_registration: Annotated[
        bool, Parameter(negative="", help="Let the daemon register, once a source's images run here.")
    ] = False,
    wait: Annotated[float, Parameter(help="Seconds to wait for the master's transaction.")] = 600.0,
    yes: Yes = False,
    json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Set this host up as a provider: network, key, host check, pairing, stake, sources.

    Every question has a flag. It can be stopped at any point and run again: it asks the chain what is done already.
    """
    from ogpu_provider.cli.keys import given
    from ogpu_provider.onboarding.money import amount
    from ogpu_provider.onboarding.sitting import Answers

    answers = Answers(
        network=network,
        rpc_url=rpc_url,
        ws_url=ws_url,
        publish_url=publish_url,
        gateway_url=gateway_url,
        key=_way(key, key_file, key_fd, from_keystore),
        secret=given(key_file, key_fd),
        account_index=account_index,
        foreign_keystore=from_keystore,
        foreign_password=given(from_password_file, from_password_fd),
        incumbent=incumbent.take(),
        password=_password(password_file, password_fd, password_credential),
        password_file=password_file,
        password_credential=password_credential,
        save_password=save_password,
        accept_warnings=accept_warnings,
        check_host=not skip_host_check,
        master=master,
        master_keystore=master_keystore,
        master_password=given(master_password_file, master_password_fd),
        lockup=amount(lockup, "--lockup") if lockup else None,
        sources=_sources(source, yes),
        environment=environment,
        register_now=not leave_registration,
        wait=wait,
    )
    await _sit(config, answers, yes=yes, json=json)


async def _sit(config: Path | None, answers: "Answers", *, yes: bool, json: bool) -> None:
    from contextlib import AsyncExitStack

    from ogpu_provider import assembly, telemetry
    from ogpu_provider.cli.terminal import Terminal
    from ogpu_provider.config import chosen_file
    from ogpu_provider.domain.clock import SystemClock
    from ogpu_provider.onboarding.sitting import Sitting
    from ogpu_provider.onboarding.steps import register as sit

    telemetry.configure(level="error", format="text")
    talk = Terminal(yes=yes, out=sys.stderr if json else sys.stdout)
    async with AsyncExitStack() as stack:
        sitting = Sitting(
            file=chosen_file(config),
            answers=answers,
            talk=talk,
            clock=SystemClock(),
            network_of=assembly.network_of,
            stack=stack,
            examine=_examine,
        )
        try:
            results = await sit(sitting)
        except (KeyboardInterrupt, asyncio.CancelledError):
            print("\nStopped. What was sent stays sent; `ogpu-provider register` goes on from here.", file=sys.stderr)
            raise
        except ProviderError:
            if json:
                document({"done": False, "steps": _steps(sitting.results)})
            raise
    if json:
        document({"done": True, "steps": _steps(results)})


def _steps(results: "Sequence[StepResult]") -> list[dict[str, Any]]:
    return [{"step": one.step, "state": one.state, **one.facts} for one in results]


async def _examine(settings: "Settings") -> "list[HostFinding]":
    """What the doctor finds of the host itself; the account is this command's own business."""
    from ogpu_provider.doctor.examination import examine
    from ogpu_provider.doctor.finding import HOST, Status
    from ogpu_provider.onboarding.sitting import HostFinding

    found = await examine(settings, only=HOST)
    wrong = (one for one in found if one.status in (Status.FAILED, Status.UNKNOWN))
    return [HostFinding(one.id, _weight(one), one.found, one.remedy) for one in wrong]


def _weight(one: "Finding") -> str:
    """What could not be found out is no error of the host."""
    return "warning" if one.status == "unknown" else str(one.severity)


def _way(key: str, file: Path | None, descriptor: int | None, foreign: Path | None) -> str:
    if key or not (file or descriptor is not None or foreign):
        return key
    return "keystore" if foreign else "hex"


def _password(file: Path | None, descriptor: int | None, credential: str) -> "Secret | None":
    from ogpu_provider.cli.keys import given
    from ogpu_provider.config import wallet_password
    from ogpu_provider.settings import Wallet

    if credential:
        if file or descriptor is not None:
            raise ConfigError("several places for one password", code="usage", remedy="give one of them")
        return wallet_password(Wallet(password_credential=credential))
    return given(file, descriptor)


def _sources(given: list[str] | None, yes: bool) -> tuple[str, ...] | None:
    """None: to be asked. Without a word, a script chooses nothing: serving is a promise."""
    if given is None:
        return () if yes else None
    words = tuple(word for text in given for word in text.split(",") if word)
    return () if words == ("none",) else words
