"""The signer signs what a provider does and nothing else, however the request was made."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from importlib import resources

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.abi import function_abi_to_4byte_selector
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.domain.units import Address
from ogpu_provider.keys.policy import ON_NEXUS, SELECTORS, VAULT_SELECTORS, Policy, TxRequest, VaultCall, decode
from ogpu_provider.keys.signer import SecretKey, Signer

KEY = SecretKey.from_hex("11" * 32)
ME = KEY.address
NEXUS = Address("0x" + "22" * 20)
TERMINAL = Address("0x" + "33" * 20)
SUBJECT = Address("0x" + "44" * 20)
MASTER = Address("0x" + "55" * 20)
OTHER = Address("0x" + "66" * 20)
POLICY = Policy(1071, ME, NEXUS, TERMINAL, gas_cap=1_000_000, fee_cap=10**11, master=MASTER)
SIGNER = Signer(KEY, POLICY)
SELECTOR = {effect: selector for selector, effect in SELECTORS.items()}
EFFECTS = tuple(SELECTOR)
"""What the daemon may do; the Vault's calls are apart."""
LINK = "https://gateway.example/ipfs/bafy"


def calldata(effect: Effect, *, provider: str = ME, link: str = LINK, env: int = 2, master: str = MASTER) -> bytes:
    encoded = {
        Effect.REGISTER: lambda: encode(["address", "address", "uint8"], [SUBJECT, provider, env]),
        Effect.UNREGISTER: lambda: encode(["address", "address"], [SUBJECT, provider]),
        Effect.ATTEMPT: lambda: encode(["address", "address", "uint256"], [SUBJECT, provider, 10**18]),
        Effect.SUBMIT_RESPONSE: lambda: encode(
            ["(address,address,string,uint256)"], [(SUBJECT, provider, link, 10**18)]
        ),
        Effect.ANNOUNCE_MASTER: lambda: encode(["address"], [master]),
        Effect.SET_BASE_DATA: lambda: encode(["string"], [link]),
        Effect.SET_LIVE_DATA: lambda: encode(["string"], [link]),
    }
    return SELECTOR[effect] + encoded[effect]()


def target(effect: Effect) -> Address:
    return NEXUS if effect in ON_NEXUS else TERMINAL


def request(effect: Effect, **changes: object) -> TxRequest:
    plain = TxRequest(1071, target(effect), calldata(effect), 0, 7, 200_000, 10**10, 10**9)
    return replace(plain, **changes)  # type: ignore[arg-type]


def intent(effect: Effect) -> Intent:
    return Intent(f"1071:{effect}:{SUBJECT}", effect, SUBJECT, target(effect), calldata(effect))


def refuses(wanted: TxRequest) -> bool:
    try:
        POLICY.check(wanted)
    except KeyRefused as error:
        return error.code == "key.policy"
    return False


def test_selectors_are_those_of_the_contracts() -> None:
    found = {}
    for contract in ("Nexus", "Terminal"):
        for network in ("mainnet", "testnet"):
            text = (resources.files("ogpu.chain.abis") / network / f"{contract}Abi.json").read_text()
            abi = json.loads(text)
            for entry in abi["abi"] if isinstance(abi, dict) else abi:
                if entry["type"] == "function" and entry["name"] in set(EFFECTS):
                    found[bytes(function_abi_to_4byte_selector(entry))] = Effect(entry["name"])
    assert found == SELECTORS


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("tip", [10**9, None])
async def test_what_a_provider_does_is_signed(effect: Effect, tip: int | None) -> None:
    tx = await SIGNER.sign(intent(effect), nonce=7, gas=200_000, max_fee=10**10, tip_fee=tip, at=5.0)
    assert Account.recover_transaction(tx.raw) == ME
    assert (tx.nonce, tx.gas, tx.max_fee, tx.tip_fee, tx.signed_at) == (7, 200_000, 10**10, tip, 5.0)
    assert tx.hash.startswith("0x")
    assert len(tx.hash) == 66
    again = await SIGNER.sign(intent(effect), nonce=7, gas=200_000, max_fee=10**10, tip_fee=tip, at=6.0)
    assert again.raw == tx.raw


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": 1},
        {"value": 1},
        {"value": -1},
        {"to": OTHER},
        {"to": ME},
        {"to": Address("0x")},
        {"gas": 0},
        {"gas": 1_000_001},
        {"max_fee": 10**11 + 1},
        {"max_fee": -1},
        {"tip_fee": 10**10 + 1},
        {"tip_fee": -1},
        {"nonce": -1},
        {"nonce": 2**64 - 1},
        {"data": b""},
        {"data": bytes.fromhex("a9059cbb") + bytes(64)},
    ],
    ids=str,
)
def test_one_wrong_field_is_enough(effect: Effect, changes: dict[str, object]) -> None:
    assert not refuses(request(effect))
    assert refuses(request(effect, **changes))


@pytest.mark.parametrize("effect", sorted(ON_NEXUS))
def test_only_for_this_provider(effect: Effect) -> None:
    assert refuses(request(effect, data=calldata(effect, provider=OTHER)))
    assert refuses(request(effect, to=TERMINAL))


def test_only_the_configured_master_is_announced() -> None:
    assert refuses(request(Effect.ANNOUNCE_MASTER, data=calldata(Effect.ANNOUNCE_MASTER, master=OTHER)))
    with pytest.raises(KeyRefused):
        replace(POLICY, master=None).check(request(Effect.ANNOUNCE_MASTER))


@pytest.mark.parametrize("environment", [0, 3, 5, 255])
def test_a_registration_names_one_environment(environment: int) -> None:
    assert refuses(request(Effect.REGISTER, data=calldata(Effect.REGISTER, env=environment)))


def test_a_second_reading_of_calldata_is_not_possible() -> None:
    """The struct of submitResponse sits behind an offset: one that points elsewhere would hide another provider."""
    honest = calldata(Effect.SUBMIT_RESPONSE)
    body = honest[4:]
    other = calldata(Effect.SUBMIT_RESPONSE, provider=OTHER)[4:][32:]
    moved = len(body).to_bytes(32, "big") + body[32:] + other
    assert refuses(request(Effect.SUBMIT_RESPONSE, data=honest[:4] + moved))
    assert refuses(request(Effect.SUBMIT_RESPONSE, data=honest + bytes(32)))
    assert refuses(request(Effect.SUBMIT_RESPONSE, data=honest[:-1]))


@pytest.mark.parametrize("link", ["", "x", "x" * 32, "x" * 33, "ü" * 100])
@pytest.mark.parametrize("effect", [Effect.SUBMIT_RESPONSE, Effect.SET_BASE_DATA])
def test_links_of_every_length_are_read(effect: Effect, link: str) -> None:
    assert decode(calldata(effect, link=link)).effect is effect


@pytest.mark.parametrize("effect", EFFECTS)
async def test_an_intent_that_lies_about_its_calldata_is_refused(effect: Effect) -> None:
    honest = intent(effect)
    wrong = [replace(honest, effect=e) for e in Effect if e is not effect]
    if effect in ON_NEXUS:
        wrong.append(replace(honest, subject=OTHER))
    for lie in wrong:
        with pytest.raises(KeyRefused) as caught:
            await SIGNER.sign(lie, nonce=1, gas=200_000, max_fee=1, tip_fee=1, at=0.0)
        assert caught.value.code == "key.policy"


@settings(max_examples=400, deadline=None)
@given(
    effect=st.sampled_from(EFFECTS),
    position=st.integers(0, 10**6),
    replacement=st.binary(min_size=1, max_size=40),
    cut=st.integers(0, 40),
)
def test_mutated_calldata_never_changes_whom_it_is_for(
    effect: Effect, position: int, replacement: bytes, cut: int
) -> None:
    honest = calldata(effect)
    at = position % len(honest)
    data = honest[:at] + replacement + honest[at + cut :]
    try:
        decoded = POLICY.check(request(effect, data=data))
    except KeyRefused:
        return
    mine = bytes.fromhex(ME[2:])
    assert decoded.effect in (ON_NEXUS if effect in ON_NEXUS else set(EFFECTS) - ON_NEXUS)
    assert (mine in data) == (decoded.effect in ON_NEXUS)
    if decoded.effect in ON_NEXUS:
        assert data[4:].index(mine) == (76 if decoded.effect is Effect.SUBMIT_RESPONSE else 44)


def test_random_requests_are_never_signed() -> None:
    """Start from an honest request and break one to four of its fields in random ways."""
    dice = random.Random(1071)
    wild: dict[str, Callable[[], object]] = {
        "chain_id": lambda: dice.choice([0, 1, 200820172034, -1071, 2**256]),
        "to": lambda: Address("0x" + dice.randbytes(20).hex()),
        "data": lambda: dice.randbytes(dice.randrange(300)),
        "value": lambda: dice.choice([1, -1, 10**18, dice.getrandbits(256) + 1]),
        "nonce": lambda: dice.choice([-1, 2**64 - 1, 2**80]),
        "gas": lambda: dice.choice([0, -1, 1_000_001, dice.getrandbits(64) + 1_000_001]),
        "max_fee": lambda: dice.choice([-1, 10**11 + 1, dice.getrandbits(100) + 10**11 + 1]),
        "tip_fee": lambda: dice.choice([-1, 10**11 + 1, dice.getrandbits(100) + 10**11 + 1]),
    }
    for _ in range(20_000):
        fields = dice.sample(sorted(wild), dice.randint(1, 4))
        assert refuses(request(dice.choice(EFFECTS), **{name: wild[name]() for name in fields})), fields


VAULT = Address("0x" + "77" * 20)
DEPOSIT = bytes.fromhex("f340fa01") + bytes(12) + bytes.fromhex(ME[2:])


def test_the_vault_takes_only_the_call_that_was_confirmed() -> None:
    wanted = replace(request(Effect.REGISTER), to=VAULT, data=DEPOSIT, value=5)
    assert refuses(wanted)
    policy = replace(POLICY, confirmed=VaultCall(VAULT, DEPOSIT, 5))
    assert policy.check(wanted).effect is Effect.DEPOSIT
    for wrong in ({"value": 6}, {"to": TERMINAL}, {"data": DEPOSIT + b"\0"}, {"chain_id": 1}, {"gas": 10**9}):
        with pytest.raises(KeyRefused):
            policy.check(replace(wanted, **wrong))
    with pytest.raises(KeyRefused):
        replace(POLICY, confirmed=VaultCall(VAULT, b"\xde\xad\xbe\xef", 5)).check(
            replace(wanted, data=b"\xde\xad\xbe\xef")
        )


def test_selectors_of_the_vault_are_the_contracts() -> None:
    text = (resources.files("ogpu.chain.abis") / "mainnet" / "VaultAbi.json").read_text()
    abi = json.loads(text)
    found = {
        bytes(function_abi_to_4byte_selector(entry)): entry["name"]
        for entry in (abi["abi"] if isinstance(abi, dict) else abi)
        if entry["type"] == "function" and entry["name"] in set(VAULT_SELECTORS.values())
    }
    assert found == VAULT_SELECTORS
