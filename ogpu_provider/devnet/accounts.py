"""The local network's accounts: those of the well-known test mnemonic, so no secret and worth nothing.

Never use them on another chain: what is sent there is taken within seconds.
"""

from dataclasses import dataclass
from functools import cache

MNEMONIC = "test test test test test test test test test test test junk"
BALANCE = 1_000_000
"""Native coins of each account at the start."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account whose key everybody knows: checksummed address, 0x-prefixed private key."""

    address: str
    private_key: str


ROLES = (
    "client",
    "master",
    "provider",
    "agent",
    "master2",
    "provider2",
    "master3",
    "provider3",
    "client2",
    "deployer",
)


@cache
def account(index: int) -> Account:
    """The mnemonic's account at `m/44'/60'/0'/0/<index>`."""
    from eth_account import Account as EthAccount
    from eth_account.hdaccount import key_from_seed

    key = key_from_seed(_seed(), f"m/44'/60'/0'/0/{index}")
    return Account(str(EthAccount.from_key(key).address), "0x" + bytes(key).hex())


def role(name: str) -> Account:
    """The account that plays `name`, one of ROLES. The deployer is also the network's admin and judge."""
    return account(ROLES.index(name))


@cache
def _seed() -> bytes:
    from eth_account.hdaccount import seed_from_mnemonic

    return bytes(seed_from_mnemonic(MNEMONIC, ""))
