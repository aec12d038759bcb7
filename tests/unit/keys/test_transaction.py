"""The bytes of a transaction, held against a general encoder."""

import pytest
import rlp as library  # type: ignore[import-untyped]
from coincurve import PrivateKey
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.units import Address
from ogpu_provider.keys.policy import TxRequest
from ogpu_provider.keys.transaction import Item, rlp, signed

WORD = st.integers(0, 2**256 - 1)
KEYS = st.integers(1, 2**255).map(lambda number: number.to_bytes(32, "big"))
TRANSACTIONS = st.builds(
    TxRequest,
    chain_id=st.integers(1, 2**53),
    nonce=st.integers(0, 2**64 - 2),
    max_fee=st.integers(10**9, 2**128),
    tip_fee=st.none() | st.integers(0, 10**9),
    gas=st.integers(0, 2**64 - 1),
    to=st.binary(min_size=20, max_size=20).map(lambda raw: Address("0x" + raw.hex())),
    value=WORD,
    data=st.binary(max_size=700),
)


@given(TRANSACTIONS, KEYS)
def test_it_signs_as_the_library_does(tx: TxRequest, key: bytes) -> None:
    fields: dict[str, object] = {
        "chainId": tx.chain_id,
        "to": bytes.fromhex(tx.to[2:]),
        "data": tx.data,
        "value": tx.value,
        "nonce": tx.nonce,
        "gas": tx.gas,
    }
    if tx.tip_fee is None:
        fields |= {"gasPrice": tx.max_fee}
    else:
        fields |= {"type": 2, "maxFeePerGas": tx.max_fee, "maxPriorityFeePerGas": tx.tip_fee}
    expected = Account.sign_transaction(fields, key)
    assert signed(tx, PrivateKey(key)) == (bytes(expected.hash), bytes(expected.raw_transaction))


@pytest.mark.parametrize("length", [0, 1, 55, 56, 255, 256, 65_535, 65_536])
def test_every_form_of_a_length(length: int) -> None:
    items: tuple[Item, Item] = (b"a" * length, [b"a"] * length)
    for item in items:
        assert rlp(item) == library.encode(item)


@given(st.recursive(st.binary(max_size=80) | WORD, lambda inner: st.lists(inner, max_size=8), max_leaves=30))
def test_it_encodes_as_the_library_does(item: Item) -> None:
    assert rlp(item) == library.encode(item)
