"""Step 4: two announcements make a pair. The master's key is cold: it signs elsewhere what is printed here."""

from dataclasses import dataclass

from ogpu_provider.chain.mastery import Unsigned, Word, announce_provider, sent, words
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.units import Address, Wei, coin
from ogpu_provider.onboarding import coldkey
from ogpu_provider.onboarding.money import address, amount
from ogpu_provider.onboarding.sitting import ALREADY, DONE, WAITS, OnboardingError, Sitting, StepResult

POLL_S = 1.0
TOLD_S = 60.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What was said so far between this provider and this master."""

    by_master: bool
    by_provider: bool


async def pair(ctx: Sitting) -> StepResult:
    """Wait for the master's half, then send ours. Raises OnboardingError (pairing.*), ChainError, KeyRefused."""
    await coldkey.settle(ctx)
    pairing = await ctx.wallet.pairing(ctx.provider)
    since = int(await ctx.rpc.call("eth_blockNumber"), 16) + 1
    history = await words(ctx.rpc, ctx.network)
    ctx.master = master = _master(ctx, pairing.master, _guess(ctx.provider, history))
    if pairing.master == master:
        ctx.talk.say(f"Pairing: {ctx.provider} belongs to master {master}.")
        return StepResult("pairing", ALREADY, {"master": master})
    await _possible(ctx, pairing.master, master)
    standing = await _standing(ctx, master, history, announced=pairing.announced)
    if not standing.by_master:
        await _masters_half(ctx, master, since)
    if not standing.by_provider:
        await _our_half(ctx, master)
    await _formed(ctx, master)
    ctx.talk.say(f"Pairing: {ctx.provider} belongs to master {master} now.")
    return StepResult("pairing", DONE, {"master": master})


def _master(ctx: Sitting, paired: Address | None, guess: Address | None) -> Address:
    text = ctx.answers.master or (coldkey.master_of(ctx) or "")
    if not text and paired:
        return paired
    text = text or ctx.talk.ask(
        "Address of the master (the cold wallet that owns this provider and gets the money)?",
        flag="--master",
        default=guess or "",
    )
    master = address(text, "--master")
    if master == ctx.provider:
        raise OnboardingError(
            f"{master} is this provider's own address: master and provider are two keys",
            code="pairing.same_address",
            remedy="give the address of the wallet that is to own the provider; its key stays away from this host",
        )
    return master


def _guess(provider: Address, history: list[Word] | None) -> Address | None:
    """The last account that announced this provider."""
    return next((w.master for w in reversed(_since_removal(provider, history)) if w.provider == provider), None)


def _since_removal(provider: Address, history: list[Word] | None) -> list[Word]:
    found = history or []
    last = max((n for n, word in enumerate(found) if word.master is None and word.provider == provider), default=-1)
    return found[last + 1 :]


async def _possible(ctx: Sitting, paired: Address | None, master: Address) -> None:
    if paired is not None:
        raise OnboardingError(
            f"{ctx.provider} belongs to master {paired} already, not to {master}",
            code="pairing.other_master",
            remedy=f"give --master {paired}, or have that master sign removeProvider({ctx.provider}) first",
        )
    other = await ctx.wallet.provider_of(master)
    if other is not None and other != ctx.provider:
        raise OnboardingError(
            f"{master} has a provider already: {other}. A master has one",
            code="pairing.master_taken",
            remedy=f"use another master, or have this one sign removeProvider({other}) first",
        )


async def _standing(ctx: Sitting, master: Address, history: list[Word] | None, *, announced: bool) -> Standing:
    """From the logs; where the node does not give them, from the Terminal's flag and our own journal."""
    ours = await ctx.desk.announced(master)
    if history is None:
        return Standing(by_master=announced, by_provider=ours)
    recent = _since_removal(ctx.provider, history)
    masters = [word for word in recent if word.by_master and word.master == master]
    mine = [word for word in recent if not word.by_master and word.provider == ctx.provider]
    return Standing(
        by_master=bool(masters) and masters[-1].provider == ctx.provider,
        by_provider=bool(mine) and mine[-1].master == master,
    )


async def _masters_half(ctx: Sitting, master: Address, since: int) -> None:
    value = await _stake(ctx)
    transaction = announce_provider(ctx.network, ctx.provider, value)
    sentence = (
        f"The master {master} announces the provider {ctx.provider} and locks {coin(value)} "
        f"{ctx.network.currency} for it. Sign exactly this, on the machine that has the master's key:"
    )
    if ctx.answers.master_keystore is not None:
        await coldkey.send(ctx, transaction, master)
        return
    ctx.talk.show(transaction, signer=master, currency=ctx.network.currency, sentence=sentence)
    ctx.talk.say(
        "Waiting for it on chain. It is safe to stop here: run `ogpu-provider register` again when it is signed."
    )
    word = await heard(ctx, master, since)
    await _compare(ctx, transaction, word)


async def _stake(ctx: Sitting) -> Wei:
    """What the master is to lock: what the provider lacks of the network's minimum, unless told otherwise."""
    account, terms = await ctx.wallet.vault(ctx.provider), await ctx.wallet.terms()
    target = ctx.answers.lockup
    if target is None:
        target = 0 if account.whitelisted else terms.min_lockup_per_source
        needed = max(0, target - account.lockup)
        if not ctx.talk.asks or not needed:
            return needed
        question = f"{ctx.network.currency} that the master locks for the provider (it stays the stake)?"
        return amount(ctx.talk.ask(question, flag="--lockup", default=coin(needed)), "--lockup")
    return max(0, target - account.lockup)


async def heard(ctx: Sitting, master: Address, since: int) -> Word | None:
    """Wait for the master's announcement, and say once a minute that this is so. None where the node shows no logs
    but the Terminal has heard it. Raises OnboardingError after `answers.wait` seconds, or if something else is said."""
    now = ctx.clock.monotonic()
    end, told, silence = now + ctx.answers.wait, now, ""
    while (now := ctx.clock.monotonic()) < end:
        if now - told >= TOLD_S:
            told = now
            ctx.talk.say(f"Still waiting; {end - now:.0f} s left.{silence}")
        try:
            said = await words(ctx.rpc, ctx.network, since)
            for word in said or ():
                if word.by_master and word.master == master and word.provider == ctx.provider:
                    return word
                _object(ctx, master, word)
            if said is None and (await ctx.wallet.pairing(ctx.provider)).announced:
                return None
            silence = ""
        except RpcUnavailable as error:  # asked again; the sitting has time
            silence = f" The chain cannot be read just now: {error}"
        await ctx.clock.sleep(POLL_S)
    raise OnboardingError(
        f"the master's transaction is not on chain after {ctx.answers.wait:.0f} s",
        code="pairing.waiting",
        remedy="have it signed as printed, then run this again: it goes on from here (--wait makes it wait longer)",
    )


def _object(ctx: Sitting, master: Address, word: Word) -> None:
    """Somebody signed something else than what was printed."""
    if not word.by_master or (word.master != master and word.provider != ctx.provider):
        return
    if word.master == master:
        said = f"the master announced {word.provider}, not this provider {ctx.provider}"
    else:
        said = f"this provider was announced by {word.master}, not by the master {master}"
    raise OnboardingError(
        f"{said} (transaction {word.tx_hash})",
        code="pairing.other_values",
        remedy="nothing is lost here; run this again, and have the transaction signed with exactly the printed values",
    )


async def _compare(ctx: Sitting, printed: Unsigned, word: Word | None) -> None:
    """The pairing counts with any amount; a difference is said, and the next step asks for what is missing."""
    signed = await sent(ctx.rpc, word.tx_hash) if word else None
    if signed and (signed.to, signed.value, signed.data) != (printed.to, printed.value, printed.data):
        ctx.talk.say(
            f"The master signed other values than were printed: {coin(signed.value)} {ctx.network.currency} "
            f"to {signed.to}, not {coin(printed.value)} to {printed.to}. The announcement counts; the stake is "
            "looked at next."
        )


async def _our_half(ctx: Sitting, master: Address) -> None:
    fee = await ctx.desk.fee(Effect.ANNOUNCE_MASTER)
    currency = ctx.network.currency
    await ctx.desk.afford(0, Effect.ANNOUNCE_MASTER)
    ctx.talk.say(
        f"Next: announceMaster({master}) to {ctx.network.terminal}, 0 {currency}, gas up to {coin(fee)} {currency}."
    )
    if not ctx.talk.confirm("Send it with the provider's key?", flag="--yes"):
        raise OnboardingError("the master is not announced", code="register.declined", remedy="run this again")
    ctx.talk.say(WAITS)
    row = await ctx.desk.announce_master(master)
    ctx.talk.say(f"Sent: {row.tx_hash}, in block {row.block_number}")


async def _formed(ctx: Sitting, master: Address) -> None:
    for _ in range(20):  # a replica may lag behind the one that had the block
        if (await ctx.wallet.pairing(ctx.provider)).master == master:
            return
        await ctx.clock.sleep(0.3)
    raise OnboardingError(
        f"both sides were announced, but {ctx.provider} and {master} are not a pair on chain",
        code="pairing.not_formed",
        remedy="the master may have announced another provider since; run this again, and have it sign once more",
    )
