"""Amounts and addresses as people type them."""

import re

from eth_utils.address import to_checksum_address

from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.units import Address, Wei, wei


def address(text: str, flag: str) -> Address:
    """Raises ConfigError usage.address for anything but an address with a sound checksum."""
    plain = text.strip()
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", plain):
        raise ConfigError(
            f"{plain[:60]!r} is not an address", code="usage.address", remedy=f"{flag}: 0x and 40 hex digits"
        )
    found = Address(to_checksum_address(plain))
    if plain != found and plain[2:] not in (plain[2:].lower(), plain[2:].upper()):
        raise ConfigError(
            f"{plain} has a wrong checksum: a digit or a letter's case is mistaken",
            code="usage.address",
            remedy=f"{flag}: copy it again",
        )
    return found


def amount(text: str, flag: str) -> Wei:
    """Coin as wei. Raises ConfigError usage.amount."""
    try:
        return wei(text.strip())
    except (ValueError, ArithmeticError):
        raise ConfigError(
            f"{text[:40]!r} is not an amount",
            code="usage.amount",
            remedy=f"{flag}: coin with at most 18 decimals, 12.5",
        ) from None
