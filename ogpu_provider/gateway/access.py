"""API keys: 256 random bits, shown once; what is kept is a hash, which nobody turns back."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from fastapi import Request

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.order import ApiKey, Quota
from ogpu_provider.domain.units import Wei
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.gateway.webhooks import new_secret
from ogpu_provider.store.members import Members

PREFIX = "ogpu_live_"
SESSION_PREFIX = "ogpu_session_"
COOKIE = "ogpu_session"
SCOPES = ("tasks:read", "tasks:write")
KNOWN_S = 1.0
"""So long after it was revoked a key may still be taken, in seconds."""
MOST_KNOWN = 10_000
TIERS: Mapping[str, Quota] = {"standard": Quota(50, 10, 5), "premium": Quota(500, 50, 25)}
"""What the settings' `gateway.tiers` adds to, or changes."""


def mint(
    name: str, *, tier: str, scopes: Sequence[str], day_budget: Wei | None, at: float, address: str = ""
) -> tuple[ApiKey, str]:
    """A new key's row, and the key itself, which is never seen again."""
    key = PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(
        id=secrets.token_hex(6),
        name=name,
        digest=digest(key),
        tier=tier,
        scopes=tuple(scopes),
        day_budget=day_budget,
        created_at=at,
        address=address,
        secrets=(new_secret(),),
    )
    return row, key


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Guard:
    """Who asks: a key or a sign-in that is known, not revoked, and has the scope. A dependency of a route.

    A cookie counts for reading, and for writing where the browser says that the request comes from our own page.
    """

    def __init__(self, members: Members, clock: Clock, scope: str) -> None:
        self._known: dict[str, tuple[float, ApiKey]] = {}
        self._members = members
        self._clock = clock
        self._scope = scope

    async def __call__(self, request: Request) -> ApiKey:
        """Raises Problem 401 and 403."""
        return self.allowed(await self.who(request, request.headers.get("authorization", "")))

    def allowed(self, key: ApiKey | None) -> ApiKey:
        """Raises Problem 401 and 403."""
        if key is None or key.revoked_at is not None:
            text = "give a valid API key or sign-in token: Authorization: Bearer …"
            raise Problem(401, "auth.key", text, {"WWW-Authenticate": "Bearer"})
        if self._scope not in key.scopes:
            raise Problem(403, "auth.scope", f"the key has no scope {self._scope}")
        return key

    async def who(self, request: Request, authorization: str) -> ApiKey | None:
        kind, _, text = authorization.partition(" ")
        if kind.lower() != "bearer":
            text = request.cookies.get(COOKIE, "") if not authorization and from_our_page(request) else ""
        if text.startswith(SESSION_PREFIX):
            return await self._members.session_of(digest(text), at=self._clock.now())
        return await self._key(digest(text)) if text else None

    async def _key(self, mark: str) -> ApiKey | None:
        """A key that was looked up is believed for KNOWN_S, so that one which is asked with often costs little."""
        now = self._clock.monotonic()
        at, found = self._known.get(mark, (0.0, None))
        if found is None or now - at > KNOWN_S:
            found = await self._members.key_of(mark)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            if found is not None:
                self._known[mark] = now, found
        return found


def from_our_page(request: Request) -> bool:
    """Browsers say where a request comes from: by Fetch Metadata, over plain HTTP by its origin. What only reads is
    harmless from anywhere."""
    if request.method == "GET":
        return True
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = urlsplit(request.headers.get("origin", ""))
    return bool(origin.netloc) and origin.netloc == request.headers.get("host")
