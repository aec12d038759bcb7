"""The key leaves no trace where text is made."""

import copy
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable

import pytest
from eth_account import Account
from eth_keys.backends import get_backend
from eth_keys.backends.coincurve import CoinCurveECCBackend

from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.domain.units import Address
from ogpu_provider.keys.policy import Policy
from ogpu_provider.keys.signer import SecretKey, Signer

CANARY = "c0ffee" * 10 + "beef"
NEXUS = Address("0x" + "22" * 20)


def forms(secret: str) -> list[str]:
    raw = bytes.fromhex(secret)
    return [secret, secret.upper(), str(int(secret, 16)), repr(raw)[2:-1], str(list(raw))[1:-1]]


def made() -> tuple[SecretKey, Signer]:
    key = SecretKey.from_hex(CANARY)
    return key, Signer(key, Policy(1071, key.address, NEXUS, Address("0x" + "33" * 20)))


def test_no_text_shows_the_key(caplog: pytest.LogCaptureFixture) -> None:
    key, signer = made()
    texts = []
    for thing in (key, signer):
        texts += [repr(thing), str(thing), f"{thing!r:>80}", pprint.pformat(thing), f"{[thing]}"]
        logging.getLogger("t").error("failed with %r and %s", thing, thing, extra={"thing": thing})
        for inspect in (vars, json.dumps, lambda x: x.__dict__):
            with pytest.raises(Exception) as caught:
                inspect(thing)
            texts.append("".join(traceback.format_exception(caught.value)))
    texts.append(caplog.text)
    for text in texts:
        assert not any(form in text for form in forms(CANARY))
    assert key.address in repr(signer)


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_key_is_not_copied(duplicate: Callable[[object], object]) -> None:
    for thing in made():
        with pytest.raises(TypeError):
            duplicate(thing)


@pytest.mark.parametrize("text", ["", "0x", CANARY[:-1], CANARY + "0", "g" * 64, "0" * 64, "f" * 64])
def test_a_wrong_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(KeyRefused) as caught:
        SecretKey.from_hex(text)
    assert caught.value.code == "key.malformed"
    shown = "".join(traceback.format_exception(caught.value))
    assert not text or text not in shown


def test_spelling_does_not_matter() -> None:
    expected = Account.from_key(CANARY).address
    for text in (CANARY, "0x" + CANARY, f"  0x{CANARY.upper()}\n"):
        assert SecretKey.from_hex(text).address == expected


def test_a_key_of_another_provider_is_refused() -> None:
    key, _ = made()
    with pytest.raises(KeyRefused) as caught:
        Signer(key, Policy(1071, NEXUS, NEXUS, NEXUS))
    assert caught.value.code == "key.mismatch"


async def test_a_refusal_shows_no_key() -> None:
    _, signer = made()
    intent = Intent("k", Effect.ATTEMPT, NEXUS, NEXUS, b"\x00" * 100)
    with pytest.raises(KeyRefused) as caught:
        await signer.sign(intent, nonce=0, gas=1, max_fee=1, tip_fee=1, at=0.0)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert not any(form in shown for form in forms(CANARY))


def test_signing_uses_the_fast_curve() -> None:
    assert isinstance(get_backend(), CoinCurveECCBackend)
