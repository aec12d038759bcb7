"""A transaction as bytes: EIP-1559, or legacy with a chain id (EIP-155). Fees in wei per gas.

Written out by hand, because it stands between a block and the answer to it: a general encoder takes ten times as long.
A test holds it against that encoder.
"""

from coincurve import PrivateKey
from eth_utils.crypto import keccak

from ogpu_provider.keys.policy import TxRequest, address_bytes

Item = bytes | int | list["Item"]


def signed(tx: TxRequest, key: PrivateKey) -> tuple[bytes, bytes]:
    """Hash and raw bytes. Raises KeyRefused where `to` is no address."""
    raw = _legacy(tx, key) if tx.tip_fee is None else _dynamic(tx, tx.tip_fee, key)
    return keccak(raw), raw


def _dynamic(tx: TxRequest, tip_fee: int, key: PrivateKey) -> bytes:
    to, access = address_bytes(tx.to), list[Item]()
    fields = _joined(tx.chain_id, tx.nonce, tip_fee, tx.max_fee, tx.gas, to, tx.value, tx.data, access)
    parity, r, s = _sign(key, b"\x02" + _listed(fields))
    return b"\x02" + _listed(fields + _joined(parity, r, s))


def _legacy(tx: TxRequest, key: PrivateKey) -> bytes:
    fields = _joined(tx.nonce, tx.max_fee, tx.gas, address_bytes(tx.to), tx.value, tx.data)
    parity, r, s = _sign(key, _listed(fields + _joined(tx.chain_id, 0, 0)))
    return _listed(fields + _joined(2 * tx.chain_id + 35 + parity, r, s))


def rlp(item: Item) -> bytes:
    """Recursive length prefix; numbers without leading zeros."""
    if isinstance(item, list):
        return _listed(_joined(*item))
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if len(item) == 1 and item[0] < 0x80:
        return item
    return _prefix(0x80, len(item)) + item


def _joined(*items: Item) -> bytes:
    return b"".join(map(rlp, items))


def _listed(joined: bytes) -> bytes:
    return _prefix(0xC0, len(joined)) + joined


def _prefix(base: int, length: int) -> bytes:
    if length < 56:
        return bytes((base + length,))
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((base + 55 + len(size),)) + size


def _sign(key: PrivateKey, payload: bytes) -> tuple[int, int, int]:
    """Parity, r and s over the payload's hash; nonce by RFC 6979, s in the lower half."""
    made = key.sign_recoverable(keccak(payload), hasher=None)
    return made[64], int.from_bytes(made[:32], "big"), int.from_bytes(made[32:64], "big")
