"""Step 2: the provider key, in an encrypted keystore that only this user can read."""

import os
from collections.abc import Awaitable
from pathlib import Path

from ogpu_provider import config
from ogpu_provider.assembly import client_rules
from ogpu_provider.domain.errors import ConfigError, StoreError
from ogpu_provider.domain.units import Address, coin
from ogpu_provider.environment import Secret
from ogpu_provider.keys import keystore
from ogpu_provider.keys.claim import claimed
from ogpu_provider.keys.client_policy import ClientPolicy
from ogpu_provider.keys.policy import Policy
from ogpu_provider.keys.signer import SecretKey
from ogpu_provider.onboarding.desk import Desk, SittingJournal, SittingOrders, SittingOutbox
from ogpu_provider.onboarding.sitting import ALREADY, DONE, OnboardingError, Sitting, StepResult
from ogpu_provider.settings import Settings

WAYS = ("new", "hex", "mnemonic", "keystore", "incumbent")


async def provide(ctx: Sitting) -> StepResult:
    """Unlock the keystore, or fill it; open the journal, and settle what an earlier sitting has sent.

    Raises KeyRefused, ConfigError, StoreError, OnboardingError.
    """
    path = ctx.settings.keystore
    there = path.exists()
    if there and ctx.answers.incumbent is not None:
        ctx.talk.say(f"{path} is there already; the key from the environment is not used.")
    if there:
        password = _known(ctx) or ctx.talk.secret(f"Password of {path}:", flag="--password-file")
    else:
        password = await _fill(ctx)
    key = await keystore.unlock(path, password.reveal())
    _remember(ctx, password)
    await _not_a_master(ctx, key.address)
    await _open(ctx, key)
    balance = await ctx.wallet.balance(key.address)
    ctx.talk.say(f"Provider: {key.address}, with {coin(balance)} {ctx.network.currency} for gas. Keystore: {path}")
    await _settle(ctx)
    return StepResult("key", ALREADY if there else DONE, {"provider": key.address, "keystore": str(path)})


async def unlock(ctx: Sitting) -> None:
    """For a host that has its key already. Raises as `provide`, and KeyRefused key.missing."""
    await _open(ctx, await _unlocked(ctx, ctx.settings.keystore, _known(ctx)))
    await _settle(ctx)


async def unlock_gateway(ctx: Sitting) -> None:
    """The gateway's key, which is another than the provider's, with the gateway's orders. Raises as `unlock`."""
    settings, network = ctx.settings, ctx.network
    known = ctx.answers.password or config.gateway_password(settings.gateway)
    key = await _unlocked(ctx, settings.gateway_keystore, known)
    rules = client_rules(settings, network, key.address)
    orders = SittingOrders.open(settings.gateway_database, chain_id=network.chain_id, client=key.address)
    await _hold(ctx, key, orders, rules, "gateway")
    await _settle(ctx)


async def _unlocked(ctx: Sitting, path: Path, known: Secret | None) -> SecretKey:
    keystore.address_of(path)
    password = known or ctx.talk.secret(f"Password of {path}:", flag="--password-file")
    return await keystore.unlock(path, password.reveal())


async def _settle(ctx: Sitting) -> None:
    for row in await ctx.desk.settle():
        ctx.talk.say(f"Sent before, now {row.state}: {row.intent.effect} in {row.tx_hash}")


def _known(ctx: Sitting) -> Secret | None:
    """The password from a flag, else from where the daemon will look for it."""
    if ctx.answers.password is not None:
        return ctx.answers.password
    return config.wallet_password(ctx.settings.wallet)


async def _fill(ctx: Sitting) -> Secret:
    path, rounds = ctx.settings.keystore, ctx.keystore_rounds
    way = ctx.answers.key or ("incumbent" if ctx.answers.incumbent else "")
    if not way:
        way = ctx.talk.ask(f"There is no key yet. One of: {', '.join(WAYS[:4])}?", flag="--key", default="new")
    if way not in WAYS:
        raise ConfigError(f"no way to get a key is named {way!r}", code="usage.key", remedy=f"one of {', '.join(WAYS)}")
    given = _given(ctx, way)
    if way in ("hex", "incumbent"):
        SecretKey.from_hex(given.reveal())  # before a password is asked for
    elif way == "mnemonic":
        SecretKey.from_mnemonic(given.reveal(), ctx.answers.account_index)
    password = _known(ctx) or ctx.talk.secret("New password for the keystore:", flag="--password-file", twice=True)
    if way == "new":
        await keystore.create(path, password.reveal(), rounds=rounds)
    elif way == "mnemonic":
        index = ctx.answers.account_index
        await keystore.import_mnemonic(path, given.reveal(), index, password.reveal(), rounds=rounds)
    elif way == "keystore":
        foreign = ctx.answers.foreign_keystore
        assert foreign is not None
        await keystore.import_keystore(path, foreign, given.reveal(), password.reveal(), rounds=rounds)
    else:
        await keystore.import_key(path, given.reveal(), password.reveal(), rounds=rounds)
    return password


def _given(ctx: Sitting, way: str) -> Secret:
    """The secret that a way starts from; nothing for a new key."""
    answers = ctx.answers
    if way == "new":
        return Secret("")
    if way == "incumbent":
        if answers.incumbent is None:
            raise ConfigError("PROVIDER_PRIVATE_KEY is not set", code="usage.key", remedy="choose another --key")
        return answers.incumbent
    if way == "keystore":
        if answers.foreign_keystore is None:
            raise ConfigError("which keystore?", code="usage.key", remedy="name the file with --from-keystore")
        return answers.foreign_password or ctx.talk.secret(
            f"Password of {answers.foreign_keystore}:", flag="--from-password-file"
        )
    question = "Private key, 64 hex digits:" if way == "hex" else "Recovery phrase:"
    return answers.secret or ctx.talk.secret(question, flag="--key-file")


def _remember(ctx: Sitting, password: Secret) -> None:
    """Point the daemon to the password. It is kept on this host only if the operator says so."""
    wallet, answers = ctx.settings.wallet, ctx.answers
    if answers.password_file is not None:
        ctx.amend({"wallet.password_file": str(answers.password_file.absolute())})
    elif answers.password_credential:
        ctx.amend({"wallet.password_credential": answers.password_credential})
    elif wallet.password_file or wallet.password_credential or wallet.password_fd is not None:
        return
    else:
        path = ctx.settings.data_dir / "password"
        keep = answers.save_password
        if keep is None:
            question = f"Keep the password in {path} (0600), so that the daemon can start by itself?"
            keep = ctx.talk.asks and ctx.talk.confirm(question, flag="--save-password")
        if keep:
            _write_secret(ctx.settings, password)
            ctx.amend({"wallet.password_file": str(path)})


def _write_secret(settings: Settings, password: Secret) -> None:
    path = settings.data_dir / "password"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(password.reveal() + "\n")


async def _open(ctx: Sitting, key: SecretKey) -> None:
    network = ctx.network
    rules = Policy(network.chain_id, key.address, network.nexus, network.terminal)
    journal = SittingJournal.open(ctx.settings.journal, chain_id=network.chain_id, provider=key.address)
    await _hold(ctx, key, journal, rules, "daemon")


async def _hold(
    ctx: Sitting, key: SecretKey, opening: Awaitable[SittingOutbox], rules: Policy | ClientPolicy, who: str
) -> None:
    """The journal is locked for the whole sitting, so that nobody else (`who`) sends with the same key meanwhile."""
    settings = ctx.settings
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        journal = await opening
    except StoreError as error:
        if error.code != "store.locked":
            raise
        raise StoreError(
            f"the {who} is running over {settings.data_dir}, and two may not send with one key",
            code="store.locked",
            remedy=f"stop the {who}, run this again, then start it; tasks under way are taken up again",
        ) from error
    ctx.stack.push_async_callback(journal.close)
    ctx.stack.enter_context(claimed(ctx.network.scope, key.address))
    desk = Desk(ctx.rpc, ctx.network, key, journal, ctx.clock, settings.network.confirmations, rules)
    ctx.rpc.head = max(ctx.rpc.head, await desk.reached())
    ctx.unlocked(key, desk)


async def _not_a_master(ctx: Sitting, address: Address) -> None:
    """The most expensive mistake: the cold key pasted into the hot place."""
    if await ctx.wallet.provider_of(address):
        raise OnboardingError(
            f"{address} is a master on {ctx.network.name}: its key must not be on this host",
            code="key.masters",
            remedy=f"delete {ctx.settings.keystore}, and run this again with a key made for this provider",
        )
