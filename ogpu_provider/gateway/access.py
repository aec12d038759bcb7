"""API keys: 256 random bits, shown once; what is kept is a hash, which nobody turns back."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from ogpu_provider.domain.order import ApiKey
from ogpu_provider.domain.units import Wei

PREFIX = "ogpu_live_"
SCOPES = ("tasks:read", "tasks:write")


@dataclass(frozen=True, slots=True)
class Tier:
    """Orders within an hour, orders that are not over, batches within an hour."""

    hourly: int
    concurrent: int
    batches: int


TIERS = {"standard": Tier(50, 10, 5), "premium": Tier(500, 50, 25)}


def mint(name: str, *, tier: str, scopes: Sequence[str], day_budget: Wei | None, at: float) -> tuple[ApiKey, str]:
    """A new key's row, and the key itself, which is never seen again."""
    key = PREFIX + secrets.token_urlsafe(32)
    return ApiKey(secrets.token_hex(6), name, digest(key), tier, tuple(scopes), day_budget, at), key


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
