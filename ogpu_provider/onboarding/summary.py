"""Step 7: what stands now, what happens next, and how to watch it."""

import shlex
from pathlib import Path

from ogpu_provider import config
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
    run = "ogpu-provider run --config " + shlex.quote(str(ctx.file))
    file = "" if ctx.file == config.chosen_file() else " --config " + shlex.quote(str(ctx.file))
    lines = [
        "",
        f"Done. Provider {ctx.provider} of master {pairing.master}, on {ctx.network.name}:",
        f"  locked {coin(account.lockup)} {currency}, {coin(balance)} {currency} for gas, {names} to serve.",
        "What happens next: the daemon starts these sources and takes their tasks.",
        f"  start it       {run}",
        f"  or a service   {_service(ctx.file)}",
        f"  watch it       ogpu-provider status{file}, or top, sources, tasks",
        f"  why not        ogpu-provider why TASK{file}",
        "  the money      earnings go to the master's balance in the Vault:",
        f"                 ogpu-provider vault show --account master{file}",
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


def _service(file: Path) -> str:
    """A service reads no home directory: it has places of its own, and this key is not there."""
    if file == config.SERVICE_FILE:
        return "sudo ogpu-provider service install"
    return f"has settings in {config.SERVICE_FILE} and a key of its own beside them: docs/operations.md, Install"
