"""Step 6: what there is to serve, what of it fits, and registering to what was chosen."""

import os

from ogpu_provider import configfile
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.source import Environment, SourceStatus
from ogpu_provider.domain.units import Address, coin
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.onboarding import images, stake
from ogpu_provider.onboarding.images import MIB, UNPACKED
from ogpu_provider.onboarding.money import address
from ogpu_provider.onboarding.offer import Offer, offers
from ogpu_provider.onboarding.sitting import ALREADY, DONE, SKIPPED, WAITS, OnboardingError, Sitting, StepResult
from ogpu_provider.scheduler.inventory import look


async def choose(ctx: Sitting) -> StepResult:
    """List, choose, pull images, lock what a source asks more, register, and write the choice into the configuration.

    Raises OnboardingError (source.*), ChainError, ConfigError.
    """
    chosen = await _chosen(ctx)
    if not chosen:
        ctx.talk.say("Sources: none chosen. `ogpu-provider register` can be run again at any time.")
        return StepResult("sources", SKIPPED, {"sources": []})
    for one in chosen:
        _check(ctx, one)
    await images.pull(ctx, chosen)
    new = [one for one in chosen if one.registered is None]
    if new and ctx.answers.register_now:
        needed = max(one.params.min_available_lockup for one in new)
        account, terms = await ctx.wallet.vault(ctx.provider), await ctx.wallet.terms()
        if not account.whitelisted:
            await stake.ensure(ctx, max(needed, terms.min_lockup_per_source), "the chosen sources")
    for one in chosen:
        if one.registered is not None:
            ctx.talk.say(f"Sources: registered to {one.address} ({one.name}) for {one.registered.label} already.")
        elif ctx.answers.register_now:
            await _register(ctx, one)
        _serve(ctx, one.address)
    state = DONE if new else ALREADY
    return StepResult("sources", state, {"sources": [document(one) for one in chosen]})


def document(one: Offer) -> dict[str, object]:
    return {
        "address": one.address,
        "name": one.name,
        "environment": one.environment.label if one.environment else None,
        "min_payment_wei": one.params.min_payment,
        "image_bytes": one.image_bytes,
    }


async def _chosen(ctx: Sitting) -> list[Offer]:
    """By flags, else from the list. Nothing is sent before every choice was looked at."""
    answers = ctx.answers
    named = [] if answers.sources in (None, ("all",)) else [address(text, "--source") for text in answers.sources or ()]
    if answers.sources == ():
        return []
    host = await look(max(1, (os.cpu_count() or 2) // 2))
    private, places = ctx.settings.network.allow_private_urls, ctx.settings.images.registries
    async with Fetcher(allow_private=private, places=places) as fetcher:
        wanted = _wanted(answers.environment)
        listed = named or await ctx.reader.all_sources()
        ctx.talk.say(f"Sources: reading {len(listed)}, with their documents and the sizes of their images ...")
        found = await offers(ctx.reader, fetcher, host, listed, wanted)
    active = [one for one in found if one.params.status is SourceStatus.ACTIVE]
    _list(ctx, found if named else active)
    if named:
        return found
    fitting = [one for one in active if one.accepted]
    if answers.sources == ("all",):
        return fitting
    if not fitting:
        ctx.talk.say("Sources: none that is active now fits this host.")
        return []
    return _picked(ctx, active)


def _wanted(text: str) -> Environment | None:
    if not text:
        return None
    try:
        return Environment[text.upper()]
    except KeyError:
        raise ConfigError(
            f"no environment is named {text!r}", code="usage.environment", remedy="cpu, nvidia or amd"
        ) from None


def _list(ctx: Sitting, found: list[Offer]) -> None:
    currency = ctx.network.currency
    for number, one in enumerate(found, 1):
        params = one.params
        kinds = ", ".join(sorted(env.label for env in params.environments))
        ctx.talk.say(f"{number:>3}. {one.name or '(no name)'}  {one.address}")
        ctx.talk.say(
            f"     pays from {coin(params.min_payment)} {currency}, {params.delivery.name.lower().replace('_', ' ')}, "
            f"for {kinds}; {one.tasks} tasks, {one.registrants} registrants; "
            f"asks {coin(params.min_available_lockup)} {currency} locked"
        )
        if one.accepted and one.environment is not None:
            size = "image size unknown"
            if one.image_bytes is not None:
                size = f"download {one.image_bytes // MIB} MiB, about {UNPACKED * one.image_bytes // MIB} MiB on disk"
            ctx.talk.say(f"     fits as {one.environment.label}; the gate accepts its compose file; {size}")
        else:
            ctx.talk.say(f"     does not fit: {one.problem}")


def _picked(ctx: Sitting, active: list[Offer]) -> list[Offer]:
    text = ctx.talk.ask("Which ones (numbers with commas, all, none)?", flag="--source", default="none")
    if text == "none":
        return []
    if text == "all":
        return [one for one in active if one.accepted]
    picked = []
    for word in text.replace(",", " ").split():
        if not word.isdecimal() or not 0 < int(word) <= len(active):
            raise ConfigError(
                f"{word[:40]!r} is none of the numbers", code="usage.source", remedy=f"1 to {len(active)}, all, or none"
            )
        picked.append(active[int(word) - 1])
    return list(dict.fromkeys(picked))


def _check(ctx: Sitting, one: Offer) -> None:
    """Why a source cannot be served is said before anything is sent for any of them."""
    if one.params.status is SourceStatus.INACTIVE:
        raise OnboardingError(
            f"source {one.address} is inactive: it takes no new tasks, for good",
            code="source.inactive",
            remedy="choose another one",
        )
    wanted = _wanted(ctx.answers.environment)
    if wanted is not None and wanted not in one.params.environments:
        offered = ", ".join(sorted(env.label for env in one.params.environments)) or "nothing"
        raise OnboardingError(
            f"source {one.address} is not offered for {wanted.label}, but for {offered}",
            code="source.environment",
            remedy="give another --environment, or leave it out",
        )
    if one.environment is None or not one.accepted:
        raise OnboardingError(
            f"source {one.address} cannot be served here: {one.problem}",
            code="source.unfit",
            remedy="choose another one; `ogpu-provider compose check` shows all that is wrong with a compose file",
        )


async def _register(ctx: Sitting, one: Offer) -> None:
    assert one.environment is not None
    fee, currency = await ctx.desk.fee(Effect.REGISTER), ctx.network.currency
    intent = ctx.reader.intent_register(one.address, one.environment)
    ctx.talk.say(
        f"Next: register to {one.address} ({one.name}) for {one.environment.label}, to {intent.to}, 0 {currency}, "
        f"gas up to {coin(fee)} {currency}. From then on tasks may be attempted in your name: start the daemon soon."
    )
    if not ctx.talk.confirm("Send it?", flag="--yes"):
        raise OnboardingError(f"not registered to {one.address}", code="register.declined", remedy="run this again")
    ctx.talk.say(WAITS)
    row = await ctx.desk.register(intent)
    ctx.talk.say(f"Sent: {row.tx_hash}, in block {row.block_number}")


def _serve(ctx: Sitting, source: Address) -> None:
    _, tree = configfile.read(ctx.file)
    section = tree.get("sources")
    served = section.get("serve", []) if isinstance(section, dict) else []
    if served == "all" or (isinstance(served, list) and source.lower() in (str(one).lower() for one in served)):
        return
    ctx.amend({"sources.serve": [*(served if isinstance(served, list) else []), source]})
