"""Addresses, hashes and amounts. Amounts are integers in wei everywhere inside; coin is for people only."""

import re
from typing import NewType

Address = NewType("Address", str)
"""0x-prefixed, 40 hex digits, EIP-55 checksummed (the chain package makes them)."""

Hash = NewType("Hash", str)
"""0x-prefixed, 64 lower-case hex digits: of a block or a transaction."""

Wei = int

ZERO_ADDRESS = Address("0x" + "0" * 40)
COIN = 10**18
"""Wei in one OGPU; 18 decimals on mainnet and testnet."""


def coin(amount: Wei) -> str:
    """Show wei as coin, exactly and without trailing zeros: 10**16 -> '0.01'."""
    whole, rest = divmod(abs(amount), COIN)
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole}.{rest:018d}".rstrip("0").rstrip(".")


def wei(amount: str) -> Wei:
    """Read coin as wei. Raises ValueError for negative amounts, more than 18 decimals, and what is no number."""
    found = re.fullmatch(r"(\d{1,60})(?:\.(\d{1,18})0*)?", amount, re.ASCII)
    if found is None:
        raise ValueError(f"not an amount in coin: {amount!r}")
    return int(found[1]) * COIN + int((found[2] or "").ljust(18, "0"))


def short(address: str) -> str:
    """Abbreviate an address or hash for people: '0x1234…cdef'."""
    return f"{address[:6]}…{address[-4:]}" if len(address) > 12 else address
