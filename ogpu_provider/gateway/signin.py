"""Signing in with a wallet: a message of ours (EIP-4361), the wallet's signature, a token for a day.

The message is kept until it comes back and must come back as it is, so nothing of it is parsed.
"""

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.order import ApiKey
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.gateway.access import SCOPES, SESSION_PREFIX, digest, mint
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.keys.proof import digest_of, signer_of
from ogpu_provider.store.members import Members

CHALLENGE_S = 300.0
SESSION_S = 86_400.0
WAITING = 10_000
STATEMENT = "Sign in to the Tasks API. This sends no transaction and costs nothing."


@dataclass(frozen=True, slots=True)
class Site:
    """Where the API is served to people: `domain` and `uri` of the message. `budget`: what a wallet that has no key
    here may spend within a UTC day, in wei; None: it may not sign in."""

    domain: str
    uri: str
    chain_id: int
    budget: Wei | None


Vouches = Callable[[Address, bytes, bytes], Awaitable[bool]]
"""Whether a contract wallet says that it signed a digest. Raises RpcUnavailable."""


class SignIn:
    def __init__(self, members: Members, clock: Clock, site: Site, vouches: Vouches) -> None:
        self._members = members
        self._clock = clock
        self._site = site
        self._vouches = vouches

    async def challenge(self, address: Address) -> tuple[str, float]:
        """The message to be signed, and until when (unix seconds). Raises Problem 503."""
        now = self._clock.now()
        nonce = secrets.token_hex(16)
        message = self._message(address, nonce, now)
        kept = await self._members.put_challenge(nonce, message, expires_at=now + CHALLENGE_S, at=now, limit=WAITING)
        if not kept:
            raise Problem(503, "auth.busy", "too many sign-ins wait for a signature", {"Retry-After": "30"})
        return message, now + CHALLENGE_S

    async def token(self, message: str, signature: str) -> tuple[str, float, Address]:
        """A token, until when it counts (unix seconds), and whose it is. `signature` in hex.

        Raises Problem 401 and 403, and RpcUnavailable where it is a contract's that no node can be asked about.
        """
        now = self._clock.now()
        kept = await self._members.take_challenge(_line(message, "Nonce: "), at=now)
        if kept is None or kept != message:
            raise Problem(401, "auth.challenge", "ask for a new message to sign; this one is unknown, used or too old")
        address = Address(message.splitlines()[1])
        if not await self._signed(message, signature, address):
            raise Problem(401, "auth.signature", "this is no signature of that wallet")
        token, until = await self.session(await self._key(address, now))
        return token, until, address

    async def _signed(self, message: str, signature: str, address: Address) -> bool:
        """By the wallet's own key, or as a contract says (EIP-1271)."""
        with suppress(KeyRefused):
            if signer_of(message, signature) == address:
                return True
        return await self._vouches(address, digest_of(message), bytes.fromhex(signature.removeprefix("0x")))

    async def session(self, key: ApiKey) -> tuple[str, float]:
        """A token that stands for a key for a day."""
        token, now = SESSION_PREFIX + secrets.token_urlsafe(32), self._clock.now()
        await self._members.put_session(key.id, digest(token), expires_at=now + SESSION_S, at=now)
        return token, now + SESSION_S

    async def _key(self, address: Address, now: float) -> ApiKey:
        held = await self._members.key_at(address)
        if held is not None and held.revoked_at is not None:
            raise Problem(403, "auth.revoked", "this wallet's key is revoked")
        if held is not None:
            return held
        if self._site.budget is None:
            raise Problem(403, "auth.unknown_wallet", "this wallet has no key here; ask the operator for one")
        made, _ = mint(address, tier="standard", scopes=SCOPES, day_budget=self._site.budget, at=now, address=address)
        await self._members.add_key(made)
        return made

    def _message(self, address: Address, nonce: str, now: float) -> str:
        issued, until = (
            datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            for at in (now, now + CHALLENGE_S)
        )
        return (
            f"{self._site.domain} wants you to sign in with your Ethereum account:\n{address}\n\n{STATEMENT}\n\n"
            f"URI: {self._site.uri}\nVersion: 1\nChain ID: {self._site.chain_id}\nNonce: {nonce}\n"
            f"Issued At: {issued}\nExpiration Time: {until}"
        )


def _line(message: str, start: str) -> str:
    return next((line.removeprefix(start) for line in message.splitlines() if line.startswith(start)), "")
