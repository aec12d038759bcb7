"""The provider's, master's and gateway's money in the Vault: looked at, and moved after it was shown and confirmed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ogpu_provider.chain.mastery import Unsigned, vault_call
from ogpu_provider.chain.wallet import VaultAccount, VaultTerms
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.intent import Effect, IntentRow
from ogpu_provider.domain.units import Address, Wei, coin
from ogpu_provider.keys import keystore
from ogpu_provider.onboarding import key, network
from ogpu_provider.onboarding.money import address
from ogpu_provider.onboarding.sitting import WAITS, OnboardingError, Sitting
from ogpu_provider.settings import Settings

WITH_AMOUNT = frozenset({Effect.DEPOSIT, Effect.LOCK, Effect.UNBOND, Effect.WITHDRAW})
SENTENCES: Mapping[Effect, str] = {
    Effect.DEPOSIT: "moves coin from the account into its balance in the Vault",
    Effect.LOCK: "makes lockup, the stake, of the balance in the Vault",
    Effect.UNBOND: "starts to free lockup; it can be claimed after the unbonding period",
    Effect.CANCEL_UNBONDING: "makes lockup again of what is unbonding",
    Effect.CLAIM: "moves what has been unbonded into the balance in the Vault",
    Effect.WITHDRAW: "pays the balance in the Vault out to the account",
}

KEYS: Mapping[str, Callable[[Settings], Path]] = {
    "provider": lambda settings: settings.keystore,
    "gateway": lambda settings: settings.gateway_keystore,
}
"""Accounts whose keys are on this host."""


@dataclass(frozen=True, slots=True)
class Holding:
    """An account with what it has, in wei. `keeper`: provider or gateway, whose key is here; else empty."""

    account: Address
    keeper: str
    balance: Wei
    vault: VaultAccount
    terms: VaultTerms


@dataclass(frozen=True, slots=True)
class Moved:
    """`row` is None where the transaction was printed for another key to sign."""

    effect: Effect
    call: Unsigned
    row: IntentRow | None


async def look(ctx: Sitting, account: str) -> Holding:
    """`account`: provider, master, gateway, or an address. Needs no password.

    Raises OnboardingError, KeyRefused, ChainError.
    """
    await network.connect(ctx)
    if account == "master":
        chosen = await _master(ctx)
    elif account in KEYS:
        chosen = _named(KEYS[account](ctx.settings))
    else:
        chosen = address(account, "--account")
    return Holding(
        account=chosen,
        keeper=account if account in KEYS else _keeper(ctx, chosen),
        balance=await ctx.wallet.balance(chosen),
        vault=await ctx.wallet.vault(chosen),
        terms=await ctx.wallet.terms(),
    )


def _keeper(ctx: Sitting, account: Address) -> str:
    """Who of those with a key on this host has the account."""
    for name, of in KEYS.items():
        path = of(ctx.settings)
        if path.exists() and keystore.address_of(path) == account:
            return name
    return ""


def _named(path: Path) -> Address:
    found = keystore.address_of(path)
    if found is None:
        raise ConfigError(
            f"{path} does not name its address", code="usage.account", remedy="give the address with --account"
        )
    return found


async def _master(ctx: Sitting) -> Address:
    provider = keystore.address_of(ctx.settings.keystore)
    master = (await ctx.wallet.pairing(provider)).master if provider else None
    if master is None:
        raise OnboardingError(
            "this provider has no master yet", code="pairing.none", remedy="`ogpu-provider register` pairs it"
        )
    return master


async def move(ctx: Sitting, effect: Effect, account: str, amount: Wei | None) -> Moved:
    """Show, ask, send; or print it for the master. Raises OnboardingError vault.*, ChainError, KeyRefused."""
    held = await look(ctx, account)
    if held.keeper:  # first, because it brings to its end what was sent before
        await (key.unlock_gateway if held.keeper == "gateway" else key.unlock)(ctx)
        held = await look(ctx, account)
    amount = _amount(ctx, effect, held, amount)
    await _possible(ctx, effect, held, amount)
    call = _call(ctx, effect, held.account, amount)
    currency = ctx.network.currency
    what = f"{effect} {coin(amount)} {currency}" if amount else str(effect)
    if not held.keeper:
        sentence = f"{what}: {SENTENCES[effect]}. Sign exactly this with the key of {held.account}:"
        ctx.talk.show(call, signer=held.account, currency=currency, sentence=sentence)
        return Moved(effect, call, None)
    fee = await ctx.desk.fee(effect)
    ctx.talk.say(f"{what}: {SENTENCES[effect]}.")
    ctx.talk.say(f"To the Vault {call.to}, {coin(call.value)} {currency} sent along, gas up to {coin(fee)} {currency},")
    ctx.talk.say(f"with the key of {held.account}.")
    if not ctx.talk.confirm("Send it?", flag="--yes", default=False):
        raise OnboardingError("nothing was sent", code="vault.declined", remedy="run this again to send it")
    ctx.talk.say(WAITS)
    row = await ctx.desk.vault(effect, call)
    ctx.talk.say(f"Sent: {row.tx_hash}, in block {row.block_number}")
    return Moved(effect, call, row)


def _amount(ctx: Sitting, effect: Effect, held: Holding, amount: Wei | None) -> Wei:
    if effect not in WITH_AMOUNT:
        return held.vault.unbonding
    if not amount:
        raise ConfigError(f"how much to {effect}?", code="usage.amount", remedy="give an amount in coin, more than 0")
    return amount


async def _possible(ctx: Sitting, effect: Effect, held: Holding, amount: Wei) -> None:
    currency, vault = ctx.network.currency, held.vault
    has = {
        Effect.DEPOSIT: (held.balance, "on the account"),
        Effect.LOCK: (vault.balance, "in the Vault's balance"),
        Effect.WITHDRAW: (vault.balance, "in the Vault's balance"),
        Effect.UNBOND: (vault.lockup, "locked"),
    }.get(effect)
    if has is not None and has[0] < amount:
        raise OnboardingError(
            f"{held.account} has {coin(has[0])} {currency} {has[1]}, less than {coin(amount)}",
            code="vault.not_enough",
            remedy="choose a smaller amount; `ogpu-provider vault show` says what is where",
        )
    if effect in (Effect.CLAIM, Effect.CANCEL_UNBONDING) and not vault.unbonding:
        raise OnboardingError("nothing is unbonding", code="vault.nothing", remedy="`ogpu-provider vault unbond` first")
    if effect is Effect.CLAIM:
        await _elapsed(ctx, vault)
    if effect is Effect.UNBOND and vault.lockup - amount < held.terms.min_lockup_per_source and not vault.whitelisted:
        least = coin(held.terms.min_lockup_per_source)
        ctx.talk.say(f"Less than {least} {currency} stays locked: this account could register to no more sources.")


async def _elapsed(ctx: Sitting, vault: VaultAccount) -> None:
    block = await ctx.rpc.call("eth_getBlockByNumber", "latest", False)
    left = vault.unbonding_at - max(int(block["timestamp"], 16), int(ctx.clock.now()))
    if left > 0:
        raise OnboardingError(
            f"{coin(vault.unbonding)} {ctx.network.currency} can be claimed in {left} s, not now",
            code="vault.not_elapsed",
            remedy="run this again then; `ogpu-provider vault show` says when",
        )


def _call(ctx: Sitting, effect: Effect, account: Address, amount: Wei) -> Unsigned:
    if effect is Effect.DEPOSIT:
        return vault_call(ctx.network, "deposit", account, value=amount)
    if effect in WITH_AMOUNT:
        return vault_call(ctx.network, effect.value, amount)
    return vault_call(ctx.network, effect.value)
