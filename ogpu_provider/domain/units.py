"""Addresses, hashes and amounts. Amounts are integers in wei everywhere inside; coin is for people only."""

from decimal import Decimal
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
    text = f"{Decimal(amount) / COIN:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def wei(amount: str) -> Wei:
    """Read coin as wei. Raises ValueError for negative amounts and for more than 18 decimals."""
    value = Decimal(amount) * COIN
    if not value.is_finite() or value < 0 or value != value.to_integral_value():
        raise ValueError(f"not an amount in coin: {amount!r}")
    return int(value)


def short(address: str) -> str:
    """Abbreviate an address or hash for people: '0x1234…cdef'."""
    return f"{address[:6]}…{address[-4:]}" if len(address) > 12 else address
