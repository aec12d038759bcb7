"""How much within a time, and how it is told (draft-ietf-httpapi-ratelimit-headers).

Tasks are counted in the database, in the transaction that makes them, so that neither a restart nor a race gives more.
The rest is counted here, in memory: batches of a key, requests of a key, sign-ins from an address.
"""

import time

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter

from ogpu_provider.domain.order import Quota
from ogpu_provider.gateway.problems import Problem

HOUR_S = 3600
REQUESTS_A_MINUTE = 6000
SIGN_INS_A_MINUTE = 20


class Rates:
    """Every method raises Problem 429 with Retry-After."""

    def __init__(self, *, requests: int = REQUESTS_A_MINUTE, sign_ins: int = SIGN_INS_A_MINUTE) -> None:
        self._requests = RateLimitItemPerMinute(requests)
        self._sign_ins = RateLimitItemPerMinute(sign_ins)
        self._often = FixedWindowRateLimiter(MemoryStorage())
        self._seldom = MovingWindowRateLimiter(MemoryStorage())

    async def request(self, owner: str) -> None:
        """Counted by the minute: a window that moves with each of thousands takes longer than the request."""
        await _count(self._often, "requests", self._requests, owner)

    async def batch(self, owner: str, quota: Quota) -> None:
        await _count(self._seldom, "batches", RateLimitItemPerHour(quota.batches), owner)

    async def sign_in(self, address: str) -> None:
        await _count(self._seldom, "sign_ins", self._sign_ins, address)


async def _count(limiter: RateLimiter, name: str, item: RateLimitItem, who: str) -> None:
    if not await limiter.hit(item, name, who):
        left = await limiter.get_window_stats(item, name, who)
        seconds = max(1, round(left.reset_time - time.time()))
        raise Problem(429, f"rate.{name}", f"{item}", told(name, item.amount, 0, item.get_expiry(), seconds))


def told(name: str, most: int, left: int, window_s: int, reset_s: int) -> dict[str, str]:
    """The headers for a quota of `most` within `window_s`; more is to be had after `reset_s`."""
    headers = {
        "RateLimit-Policy": f'"{name}";q={most};w={window_s}',
        "RateLimit": f'"{name}";r={max(left, 0)};t={reset_s}',
    }
    return headers if left > 0 else headers | {"Retry-After": str(reset_s)}
