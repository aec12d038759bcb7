"""Step 7: what stands now, what happens next, and how to watch it."""

from ogpu_provider.domain.units import coin
from ogpu_provider.onboarding.sitting import DONE, Sitting, StepResult


async def tell(ctx: Sitting) -> StepResult:
    """Reads the chain once more, so that it says what is, not what was meant."""
    settings, currency = ctx.settings, ctx.network.currency
    account, pairing = await ctx.wallet.vault(ctx.provider), await ctx.wallet.pairing(ctx.provider)
    balance = await ctx.wallet.balance(ctx.provider)
    served = settings.sources.serve
    wallet = settings.wallet
    password = bool(wallet.password_file or wallet.password_credential or wallet.password_fd is not None)
    names = "all sources" if served == "all" else f"{len(served)} source{'' if len(served) == 1 else 's'}"
    run = "ogpu-provider run --config " + str(ctx.file)
    lines = [
        "",
        f"Done. Provider {ctx.provider} of master {pairing.master}, on {ctx.network.name}:",
        f"  locked {coin(account.lockup)} {currency}, {coin(balance)} {currency} for gas, {names} to serve.",
        "What happens next: the daemon starts these sources and takes their tasks.",
        f"  start it       {run}",
        "  or a service   sudo ogpu-provider service install",
        "  watch it       ogpu-provider status; ogpu-provider sources; ogpu-provider tasks",
        "  why not        ogpu-provider why TASK",
        "  the money      earnings go to the master's balance in the Vault: ogpu-provider vault show --account master",
    ]
    if not password:
        lines.append(
            "Before: the daemon does not know the keystore's password. Set wallet.password_file, or run it as a "
            "service with a credential."
        )
    for line in lines:
        ctx.talk.say(line)
    facts: dict[str, object] = {
        "provider": ctx.provider,
        "master": pairing.master,
        "lockup_wei": account.lockup,
        "balance_wei": balance,
        "serve": served if served == "all" else list(served),
        "can_start": password,
        "start": run,
    }
    return StepResult("summary", DONE, facts)
