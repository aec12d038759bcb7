"""Wallets that are contracts: they say themselves what they signed (EIP-1271)."""

from ogpu_provider.chain.receipts import Node
from ogpu_provider.domain.errors import RpcRejected, RpcUnavailable
from ogpu_provider.domain.units import Address

IS_VALID = bytes.fromhex("1626ba7e")
"""`isValidSignature(bytes32,bytes)`, and the first bytes of its answer where it is."""
_WORD = 32


async def vouches(node: Node, wallet: Address, digest: bytes, signature: bytes) -> bool | None:
    """Whether the contract says that it signed; None where no node says. An account without code says nothing."""
    try:
        answer = await node.call(
            "eth_call", {"to": wallet, "data": "0x" + _question(digest, signature).hex()}, "latest"
        )
    except RpcRejected:  # it reverts
        return False
    except RpcUnavailable:
        return None
    return isinstance(answer, str) and answer.lower() == "0x" + IS_VALID.hex().ljust(2 * _WORD, "0")


def _question(digest: bytes, signature: bytes) -> bytes:
    padded = signature + bytes(-len(signature) % _WORD)
    return IS_VALID + digest + (2 * _WORD).to_bytes(_WORD, "big") + len(signature).to_bytes(_WORD, "big") + padded
