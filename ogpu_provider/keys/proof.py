"""Who signed a text with a wallet (EIP-191, personal_sign)."""

from eth_utils.crypto import keccak

from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.units import Address


def signer_of(text: str, signature: str) -> Address:
    """The account whose key signed `text`; `signature` is 65 bytes in hex. A contract wallet has no key: ask it, with
    the digest (EIP-1271).

    Raises KeyRefused key.signature.
    """
    from eth_account import Account
    from eth_account.messages import encode_defunct

    try:
        raw = bytes.fromhex(signature.removeprefix("0x"))
        if len(raw) != 65:
            raise ValueError("not 65 bytes")
        return Address(str(Account.recover_message(encode_defunct(text=text), signature=raw)))
    except Exception as error:  # the library has no one base for what a wrong signature raises
        raise KeyRefused("this is no signature of that text", code="key.signature") from error


def digest_of(text: str) -> bytes:
    """What a wallet signs where it is asked for a signature of `text`."""
    raw = text.encode()
    return keccak(b"\x19Ethereum Signed Message:\n" + str(len(raw)).encode() + raw)
