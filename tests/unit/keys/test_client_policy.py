"""The gateway's key signs a client's three functions, and nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.chain import contracts
from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.keys.client_policy import ClientPolicy
from ogpu_provider.keys.policy import TxRequest, VaultCall
from ogpu_provider.keys.signer import SecretKey, Signer

KEY = SecretKey.from_hex("11" * 32)
CONTROLLER = Address("0x" + "c0" * 20)
SOURCE = Address("0x" + "50" * 20)
TASK = Address("0x" + "7a" * 20)
VAULT = Address("0x" + "fa" * 20)
POLICY = ClientPolicy(7, KEY.address, CONTROLLER, payment_cap=COIN)
CALLS = {
    Effect.PUBLISH_TASK: contracts.publish_task(CONTROLLER, SOURCE, "https://gateway/ipfs/Qm", 1_900_000_000, COIN),
    Effect.CANCEL_TASK: contracts.cancel_task(CONTROLLER, TASK),
    Effect.CONFIRM_RESPONSE: contracts.confirm_response(CONTROLLER, TASK),
}


def request(data: bytes, to: Address = CONTROLLER) -> TxRequest:
    return TxRequest(7, to, data, 0, 1, 100_000, 10, 1)


@pytest.mark.parametrize("effect", CALLS)
def test_the_clients_own_functions_are_signed(effect: Effect) -> None:
    assert POLICY.check(request(CALLS[effect].data)).effect is effect


@pytest.mark.parametrize("effect", CALLS)
@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": 8},
        {"to": SOURCE},
        {"value": 1},
        {"gas": 5_000_001},
        {"max_fee": 500 * 10**9 + 1},
        {"tip_fee": 11},
        {"nonce": -1},
    ],
)
def test_nothing_else_about_them_may_differ(effect: Effect, changes: dict[str, int]) -> None:
    with pytest.raises(KeyRefused):
        POLICY.check(replace(request(CALLS[effect].data), **changes))  # type: ignore[arg-type]


def test_a_task_is_never_paid_more_than_the_cap() -> None:
    dear = contracts.publish_task(CONTROLLER, SOURCE, "https://gateway/ipfs/Qm", 1_900_000_000, COIN + 1)
    with pytest.raises(KeyRefused, match="more than"):
        POLICY.check(request(dear.data))


@pytest.mark.parametrize(
    "call",
    [
        contracts.attempt(CONTROLLER, TASK, KEY.address, 1),
        contracts.register(CONTROLLER, SOURCE, KEY.address, Environment.CPU),
        contracts.Calldata(CONTROLLER, contracts.encode_call("Vault.withdraw", COIN)),
    ],
)
def test_functions_of_others_are_refused(call: contracts.Calldata) -> None:
    with pytest.raises(KeyRefused, match="no function"):
        POLICY.check(request(call.data))


@given(st.integers(0, 191), st.integers(1, 255))
def test_calldata_is_taken_in_its_canonical_encoding_only(at: int, change: int) -> None:
    """A byte changed anywhere in the structure either changes a value that is checked, or is refused."""
    data = bytearray(CALLS[Effect.PUBLISH_TASK].data)
    data[4 + at] ^= change
    try:
        found = POLICY.check(request(bytes(data)))
    except KeyRefused:
        return
    offsets = at < 32 or 64 <= at < 96
    assert not offsets, "an offset may not lead elsewhere"
    assert found.effect is Effect.PUBLISH_TASK


def test_an_empty_transaction_to_ourselves_uses_a_nonce_up() -> None:
    assert POLICY.check(request(b"", KEY.address)).effect is Effect.FILL


async def test_the_signer_holds_an_intent_against_its_calldata() -> None:
    signer = Signer(KEY, POLICY)
    call = CALLS[Effect.PUBLISH_TASK]
    good = Intent("7:publishTask:a", Effect.PUBLISH_TASK, SOURCE, call.to, call.data)
    await signer.sign(good, nonce=0, gas=100_000, max_fee=10, tip_fee=1, at=0.0)
    with pytest.raises(KeyRefused):
        await signer.sign(replace(good, subject=TASK), nonce=0, gas=100_000, max_fee=10, tip_fee=1, at=0.0)
    with pytest.raises(KeyRefused):
        await signer.sign(replace(good, effect=Effect.CANCEL_TASK), nonce=0, gas=100_000, max_fee=10, tip_fee=1, at=0.0)


def test_the_vault_takes_only_the_call_that_was_confirmed() -> None:
    call = contracts.Calldata(VAULT, contracts.encode_call("Vault.withdraw", COIN))
    wanted = request(call.data, VAULT)
    with pytest.raises(KeyRefused):
        POLICY.check(wanted)
    rules = replace(POLICY, confirmed=VaultCall(VAULT, call.data, 0))
    assert rules.check(wanted).effect is Effect.WITHDRAW
    other = contracts.encode_call("Vault.withdraw", COIN + 1)
    for wrong in ({"value": 1}, {"to": CONTROLLER}, {"data": other}, {"chain_id": 8}, {"gas": 10**9}):
        with pytest.raises(KeyRefused):
            rules.check(replace(wanted, **wrong))
