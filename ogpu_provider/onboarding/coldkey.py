"""The master's key, for people who have it at hand: used once for a transaction, and forgotten.

Its signed bytes are stored before they are sent, so that a sitting which dies in between sends the same bytes again
and never others: the same nonce cannot be spent twice.
"""

import json
import os
from typing import Any

from ogpu_provider.chain.fees import FeeCaps, Suggestion, quote
from ogpu_provider.chain.mastery import Unsigned
from ogpu_provider.domain.errors import ChainError, RpcRejected
from ogpu_provider.domain.killpoints import reach
from ogpu_provider.domain.units import Address, coin
from ogpu_provider.keys import keystore
from ogpu_provider.keys.policy import TxRequest
from ogpu_provider.onboarding.sitting import OnboardingError, Sitting

FILE = "master-transaction.json"
PATIENCE_S = 120.0
POLL_S = 0.5


def master_of(ctx: Sitting) -> Address | None:
    """The address that --master-keystore names, without its password."""
    path = ctx.answers.master_keystore
    return keystore.address_of(path) if path else None


async def settle(ctx: Sitting) -> None:
    """Bring a transaction of the master, that an earlier sitting signed, to its end."""
    path = ctx.settings.data_dir / FILE
    if path.exists():
        stored = json.loads(path.read_text("utf-8"))
        ctx.talk.say(f"The master's transaction {stored['hash']} was signed before; waiting for it.")
        await _deliver(ctx, stored)


async def send(ctx: Sitting, transaction: Unsigned, master: Address) -> None:
    """Show, ask, sign, store, send, wait. Raises KeyRefused, ChainError, OnboardingError."""
    path = ctx.answers.master_keystore
    assert path is not None
    named = keystore.address_of(path)
    if named is not None and named != master:
        raise OnboardingError(
            f"{path} is the key of {named}, not of the master {master}",
            code="pairing.other_key",
            remedy="give the master's keystore, or its address with --master",
        )
    currency = ctx.network.currency
    request = await _request(ctx, transaction, master)
    fee = coin(request.gas * request.max_fee)
    ctx.talk.say(
        f"Next, with the master's key: {transaction.words} to {transaction.to}, {coin(transaction.value)} {currency}, "
        f"gas up to {fee} {currency}."
    )
    if not ctx.talk.confirm("Sign and send it with the master's key, once?", flag="--yes"):
        raise OnboardingError(
            "the master's transaction was not sent", code="register.declined", remedy="run this again"
        )
    password = ctx.answers.master_password or ctx.talk.secret(f"Password of {path}:", flag="--master-password-file")
    key = await keystore.unlock(path, password.reveal())
    if key.address != master:
        raise OnboardingError(
            f"{path} is not the key of {master}", code="pairing.other_key", remedy="give the master's"
        )
    tx_hash, raw = key.sign(request)
    del key
    stored = {"hash": tx_hash, "raw": "0x" + raw.hex()}
    _store(ctx, stored)
    reach("master.signed")
    await _deliver(ctx, stored)


async def _request(ctx: Sitting, transaction: Unsigned, master: Address) -> TxRequest:
    call = {
        "from": master,
        "to": transaction.to,
        "data": "0x" + transaction.data.hex(),
        "value": hex(transaction.value),
    }
    found = await ctx.wallet.fees()
    tip = found.gas_price if found.tip is None else found.tip
    fees = quote(found.base_fee, Suggestion(tip, found.gas_price), FeeCaps())
    if fees is None:
        raise ChainError("gas is dearer than the cap just now", code="tx.too_dear", remedy="try again later")
    balance = await ctx.wallet.balance(master)
    if balance < transaction.value:
        raise _poor(ctx, master, balance, transaction.value)
    try:
        gas = int(await ctx.rpc.call("eth_estimateGas", call), 16) * 3 // 2
    except RpcRejected as refusal:
        raise ChainError(
            f"the chain would refuse it: {refusal}", code="tx.would_fail", remedy="nothing was sent"
        ) from refusal
    if balance < transaction.value + gas * fees.max_fee:
        raise _poor(ctx, master, balance, transaction.value + gas * fees.max_fee)
    return TxRequest(
        chain_id=transaction.chain_id,
        to=transaction.to,
        data=transaction.data,
        value=transaction.value,
        nonce=await ctx.wallet.nonce(master),
        gas=gas,
        max_fee=fees.max_fee,
        tip_fee=fees.tip_fee,
    )


def _poor(ctx: Sitting, master: Address, has: int, needs: int) -> ChainError:
    currency = ctx.network.currency
    return ChainError(
        f"the master {master} has {coin(has)} {currency}, and needs {coin(needs)} {currency} with gas",
        code="tx.not_enough_balance",
        remedy=f"send at least {coin(needs - has)} {currency} to {master}, then run this again",
    )


def _store(ctx: Sitting, stored: dict[str, Any]) -> None:
    path = ctx.settings.data_dir / FILE
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(stored, file)
        file.flush()
        os.fsync(descriptor)


async def _deliver(ctx: Sitting, stored: dict[str, Any]) -> None:
    """Send the stored bytes until they are in a block; a refusal says nothing, the receipt does."""
    path = ctx.settings.data_dir / FILE
    end = ctx.clock.monotonic() + PATIENCE_S
    try_at = ctx.clock.monotonic()
    refused = ""
    while ctx.clock.monotonic() < end:
        receipt = await ctx.rpc.call("eth_getTransactionReceipt", stored["hash"])
        if receipt is not None:
            path.unlink(missing_ok=True)
            if int(receipt["status"], 16) != 1:
                raise ChainError(
                    f"the master's transaction {stored['hash']} failed on chain",
                    code="tx.failed",
                    remedy="run this again",
                )
            ctx.talk.say(f"Sent: {stored['hash']}, in block {int(receipt['blockNumber'], 16)}")
            return
        if ctx.clock.monotonic() >= try_at:
            try_at = ctx.clock.monotonic() + 10.0
            try:
                await ctx.rpc.call("eth_sendRawTransaction", stored["raw"])
                reach("master.sent")
            except RpcRejected as refusal:  # known already, or never to be taken: the receipt tells
                refused = f"; the node says: {refusal}"
        await ctx.clock.sleep(POLL_S)
    raise ChainError(
        f"the master's transaction {stored['hash']} is not in a block yet{refused}",
        code="tx.pending",
        remedy=f"run this again, it sends no other. If the master's nonce was used elsewhere, remove {path} first",
    )
