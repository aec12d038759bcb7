"""`ogpu-provider vault`: the stake and the earnings."""

import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli.keys import PasswordFd, PasswordFile, given
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import at, document, facts
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.units import coin

if TYPE_CHECKING:
    from ogpu_provider.onboarding.sitting import Sitting
    from ogpu_provider.onboarding.vault import Holding, Moved

app = cyclopts.App(name="vault", help="Stake and earnings in the network's Vault.")

Account = Annotated[
    str, Parameter(help="provider or gateway (the key signs here), master or an address (printed to be signed).")
]
Amount = Annotated[str, Parameter(help="How much, in coin.")]
Yes = Annotated[bool, Parameter(name="--yes", negative="", show_default=False, help="Do not ask before sending.")]


@dataclass(frozen=True, slots=True)
class How:
    """What every transaction of the Vault is told: for whom, with which password, and how to talk about it."""

    account: Account = "provider"
    password_file: PasswordFile = None
    password_fd: PasswordFd = None
    yes: Yes = False
    json: AsJson = False
    config: ConfigFile = None


_ASKING = How()


@app.command
@app.default
async def show(*, account: Account = "provider", json: AsJson = False, config: ConfigFile = None) -> None:
    """Show balance, lockup, unbonding and earnings of an account. Needs no password."""
    from ogpu_provider.onboarding.vault import look

    async with AsyncExitStack() as stack:
        sitting = _sitting(stack, config, yes=True, json=json)
        held = await look(sitting, account)
        currency = sitting.network.currency
    if json:
        document(_document(held))
        return
    vault = held.vault
    facts(
        (
            ("account", held.account),
            ("on the account", f"{coin(held.balance)} {currency}"),
            ("balance", f"{coin(vault.balance)} {currency}"),
            ("locked", f"{coin(vault.lockup)} {currency}"),
            ("unbonding", f"{coin(vault.unbonding)} {currency}"),
            ("claim from", at(vault.unbonding_at) if vault.unbonding else None),
            ("earned", f"{coin(vault.earned)} {currency}"),
            ("sanctioned", f"{coin(vault.sanctioned)} {currency}" if vault.sanctioned else None),
            ("eligible", "yes" if vault.eligible else "no"),
            ("asked a source", f"{coin(held.terms.min_lockup_per_source)} {currency}"),
            ("unbonding takes", f"{held.terms.unbonding_period} s"),
        )
    )


@app.command
async def deposit(amount: Amount, /, *, how: Annotated[How, Parameter(name="*")] = _ASKING) -> None:
    """Move coin from an account into its balance in the Vault."""
    await _move(Effect.DEPOSIT, amount, how)


@app.command
async def lock(amount: Amount, /, *, how: Annotated[How, Parameter(name="*")] = _ASKING) -> None:
    """Make stake of the balance."""
    await _move(Effect.LOCK, amount, how)


@app.command
async def unbond(amount: Amount, /, *, how: Annotated[How, Parameter(name="*")] = _ASKING) -> None:
    """Start to free stake; it can be claimed after the unbonding period."""
    await _move(Effect.UNBOND, amount, how)


@app.command
async def cancel_unbonding(*, how: Annotated[How, Parameter(name="*")] = _ASKING) -> None:
    """Make stake again of what is unbonding. Not every network has it."""
    await _move(Effect.CANCEL_UNBONDING, None, how)


@app.command
async def claim(*, how: Annotated[How, Parameter(name="*")] = _ASKING) -> None:
    """Move what has been unbonded into the balance."""
    await _move(Effect.CLAIM, None, how)


@app.command
async def withdraw(amount: Amount, /, *, how: Annotated[How, Parameter(name="*")] = _ASKING) -> None:
    """Pay the balance in the Vault out to the account."""
    await _move(Effect.WITHDRAW, amount, how)


async def _move(effect: Effect, amount: str | None, how: How) -> None:
    from ogpu_provider.onboarding.money import amount as wei_of
    from ogpu_provider.onboarding.sitting import Answers
    from ogpu_provider.onboarding.vault import move

    wanted = None if amount is None else wei_of(amount, "the amount")
    answers = Answers(password=given(how.password_file, how.password_fd))
    async with AsyncExitStack() as stack:
        sitting = _sitting(stack, how.config, yes=how.yes, json=how.json, answers=answers)
        moved = await move(sitting, effect, how.account, wanted)
    if how.json:
        document(_moved(moved))


def _sitting(stack: AsyncExitStack, config: Path | None, *, yes: bool, json: bool, answers: Any = None) -> "Sitting":
    from ogpu_provider import telemetry
    from ogpu_provider.cli.terminal import Terminal
    from ogpu_provider.config import chosen_file, load
    from ogpu_provider.domain.clock import SystemClock
    from ogpu_provider.onboarding.sitting import Answers, Sitting

    telemetry.configure(level="error", format="text")
    load(config)  # a file that is named and not there must not mean the main network and another key
    return Sitting(
        file=chosen_file(config),
        answers=answers or Answers(),
        talk=Terminal(yes=yes, out=sys.stderr if json else sys.stdout),
        clock=SystemClock(),
        stack=stack,
    )


def _document(held: "Holding") -> dict[str, Any]:
    vault = held.vault
    return {
        "account": held.account,
        "account_wei": held.balance,
        "balance_wei": vault.balance,
        "lockup_wei": vault.lockup,
        "unbonding_wei": vault.unbonding,
        "claim_from": vault.unbonding_at or None,
        "earned_wei": vault.earned,
        "sanctioned_wei": vault.sanctioned,
        "eligible": vault.eligible,
        "whitelisted": vault.whitelisted,
        "min_lockup_per_source_wei": held.terms.min_lockup_per_source,
        "unbonding_period": held.terms.unbonding_period,
    }


def _moved(moved: "Moved") -> dict[str, Any]:
    call, row = moved.call, moved.row
    return {
        "effect": moved.effect,
        "sent": row is not None,
        "tx": row.tx_hash if row else None,
        "block": row.block_number if row else None,
        "chain_id": call.chain_id,
        "to": call.to,
        "value_wei": call.value,
        "data": "0x" + call.data.hex(),
        "link": call.link,
    }
