"""Signing in with a wallet."""

from fastapi import FastAPI, Request
from pydantic import Field

from ogpu_provider.chain.contracts import checksummed
from ogpu_provider.gateway.documents import Body
from ogpu_provider.gateway.routes.context import Api, refusals


class Wallet(Body):
    address: str = Field(pattern="^0x[0-9a-fA-F]{40}$", examples=["0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"])


class Challenge(Body):
    message: str = Field(description="Sign it with personal_sign (EIP-191).")
    expires_at: float


class Signed(Body):
    message: str = Field(max_length=2000)
    signature: str = Field(
        pattern="^0x([0-9a-fA-F]{2})*$", max_length=8194, description="65 bytes; a contract wallet's may be others."
    )


class Token(Body):
    token: str = Field(description="Authorization: Bearer …")
    expires_at: float
    user_address: str


def add(app: FastAPI, api: Api) -> None:
    @app.post("/api/auth/challenge", responses=refusals(), tags=["sign-in"])
    async def ask_challenge(wanted: Wallet, request: Request) -> Challenge:
        """A message to sign (EIP-4361), for five minutes."""
        await api.rates.sign_in(sender_of(request))
        message, until = await api.signin.challenge(checksummed(wanted.address))
        return Challenge(message=message, expires_at=until)

    @app.post("/api/auth/token", responses=refusals(), tags=["sign-in"])
    async def take_token(signed: Signed, request: Request) -> Token:
        """The signed message for a token, for a day."""
        await api.rates.sign_in(sender_of(request))
        token, until, address = await api.signin.token(signed.message, signed.signature)
        return Token(token=token, expires_at=until, user_address=address)


def sender_of(request: Request) -> str:
    return request.client.host if request.client else "-"
