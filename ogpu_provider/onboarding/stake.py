"""Step 5: enough lockup. The provider's own lockup counts at registration, so its own key locks."""

from ogpu_provider.chain.mastery import vault_call
from ogpu_provider.chain.wallet import VaultAccount
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.units import Wei, coin
from ogpu_provider.onboarding import coldkey
from ogpu_provider.onboarding.sitting import ALREADY, DONE, WAITS, OnboardingError, Sitting, StepResult

POLL_S = 1.0


async def provide(ctx: Sitting) -> StepResult:
    """Lock what the network's minimum, or --lockup, asks for. Raises OnboardingError (stake.*), ChainError."""
    account, terms = await ctx.wallet.vault(ctx.provider), await ctx.wallet.terms()
    target = ctx.answers.lockup
    if target is None:
        target = 0 if account.whitelisted else terms.min_lockup_per_source
    show(ctx, account, terms.min_lockup_per_source, await ctx.wallet.balance(ctx.provider))
    moved = await ensure(ctx, target, "the network's minimum for a source")
    account = await ctx.wallet.vault(ctx.provider)
    facts = {"lockup_wei": account.lockup, "vault_balance_wei": account.balance, "minimum_wei": target}
    return StepResult("stake", DONE if moved else ALREADY, facts)


def show(ctx: Sitting, account: VaultAccount, minimum: Wei, balance: Wei) -> None:
    currency = ctx.network.currency
    ctx.talk.say(
        f"Stake of {ctx.provider}: locked {coin(account.lockup)}, in the Vault {coin(account.balance)}, unbonding "
        f"{coin(account.unbonding)}, on the account {coin(balance)} {currency}; the network asks {coin(minimum)}"
        + (" (not of this provider: it is whitelisted)." if account.whitelisted else " for a source.")
    )
    if account.sanctioned:
        ctx.talk.say(f"Sanctioned: {coin(account.sanctioned)} {currency} were taken by the network's judge.")


async def ensure(ctx: Sitting, target: Wei, why: str) -> bool:
    """Whether anything had to be moved for the provider to have `target` wei locked."""
    account = await ctx.wallet.vault(ctx.provider)
    missing = target - account.lockup
    if missing <= 0:
        ctx.talk.say(f"Stake: {coin(account.lockup)} {ctx.network.currency} locked, enough for {why}.")
        return False
    ctx.talk.say(f"Stake: {coin(missing)} {ctx.network.currency} are missing for {why}.")
    if missing > account.balance:
        await _deposit(ctx, missing - account.balance)
    lock = vault_call(ctx.network, "lock", missing)
    await _confirm(ctx, Effect.LOCK, f"lock {coin(missing)} {ctx.network.currency}", lock.to)
    row = await ctx.desk.vault(Effect.LOCK, lock)
    ctx.talk.say(f"Sent: {row.tx_hash}, in block {row.block_number}")
    return True


async def _deposit(ctx: Sitting, short: Wei) -> None:
    """From the provider's account if it has that much, else by the master, who signs elsewhere."""
    currency = ctx.network.currency
    deposit = vault_call(ctx.network, "deposit", ctx.provider, value=short)
    fees = await ctx.desk.fee(Effect.DEPOSIT, Effect.LOCK)
    if await ctx.wallet.balance(ctx.provider) >= short + fees:
        await _confirm(ctx, Effect.DEPOSIT, f"deposit {coin(short)} {currency} for {ctx.provider}", deposit.to)
        row = await ctx.desk.vault(Effect.DEPOSIT, deposit)
        ctx.talk.say(f"Sent: {row.tx_hash}, in block {row.block_number}")
        return
    master = ctx.master
    if ctx.answers.master_keystore is not None and master is not None:
        await coldkey.send(ctx, deposit, master)
        return
    sentence = (
        f"The provider's account cannot pay {coin(short)} {currency}. Anybody can deposit it for the provider, best "
        "the master; sign exactly this:"
    )
    ctx.talk.show(deposit, signer=master or "anybody", currency=currency, sentence=sentence)
    await _arrived(ctx, short)


async def _arrived(ctx: Sitting, short: Wei) -> None:
    before = (await ctx.wallet.vault(ctx.provider)).balance
    ctx.talk.say("Waiting for it on chain. It is safe to stop here and to run this again later.")
    end = ctx.clock.monotonic() + ctx.answers.wait
    while ctx.clock.monotonic() < end:
        if (await ctx.wallet.vault(ctx.provider)).balance >= before + short:
            return
        await ctx.clock.sleep(POLL_S)
    raise OnboardingError(
        f"{coin(short)} {ctx.network.currency} are missing for the lockup of {ctx.provider}",
        code="stake.not_enough_balance",
        remedy=f"sign the printed deposit, or send coin to {ctx.provider}; then run this again",
    )


async def _confirm(ctx: Sitting, effect: Effect, what: str, to: str) -> None:
    fee, currency = await ctx.desk.fee(effect), ctx.network.currency
    ctx.talk.say(f"Next: {what}, to the Vault {to}, gas up to {coin(fee)} {currency}, with the key of {ctx.provider}.")
    if not ctx.talk.confirm("Send it?", flag="--yes"):
        raise OnboardingError("the stake is not locked", code="register.declined", remedy="run this again")
    ctx.talk.say(WAITS)
