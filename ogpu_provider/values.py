"""What an operator writes in a setting, and what it is read as: amounts, addresses, lists, URLs, paths."""

import re
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ogpu_provider.domain.units import Address, Wei, wei
from ogpu_provider.domain.week import hours


def _wei(value: object) -> Wei:
    try:
        if isinstance(value, str):
            return wei(value)
    except (ValueError, ArithmeticError):
        pass
    raise ValueError('an amount in coin with at most 18 decimals, in quotes so that no digit is lost: "0.01"')


def _address(value: object) -> Address:
    if not isinstance(value, str) or not re.fullmatch(r"0x[0-9a-fA-F]{40}", value):
        raise ValueError("an address is 0x and 40 hex digits")
    from eth_utils.address import to_checksum_address

    checksummed = to_checksum_address(value)
    if value != checksummed and value[2:] not in (value[2:].lower(), value[2:].upper()):
        raise ValueError("the address has a wrong checksum: a digit or a letter's case is mistaken")
    return Address(checksummed)


def _registry(value: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?:[1-9][0-9]{0,4}", value):
        raise ValueError("a registry at a port of its own is host:port")
    return value.lower()


def listed(value: object) -> object:
    """Variables hold lists as comma-separated text."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value) if isinstance(value, list) else value


def _paired(value: object) -> object:
    """Variables hold a table as comma-separated name=value."""
    if isinstance(value, str):
        return dict(part.strip().partition("=")[::2] for part in value.split(",") if part.strip())
    return value


def _span(value: str) -> str:
    hours(value)
    return value


def _served(value: object) -> object:
    return value if value == "all" else listed(value)


def _web(*schemes: str) -> BeforeValidator:
    def check(value: object) -> object:
        if isinstance(value, str) and value.partition("://")[0] not in schemes:
            raise ValueError(f"a URL that starts with {' or '.join(s + '://' for s in schemes)}")
        return value

    return BeforeValidator(check)


def receiver(value: object) -> object:
    """A receiver's address may hold a token, which must not go over a network in the open."""
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        near = host == "localhost" or _is_near(host)
    except ValueError:
        raise ValueError("a URL that starts with https://") from None
    if not host or (parts.scheme != "https" and not (parts.scheme == "http" and near)):
        raise ValueError("a URL that starts with https://; http:// only to an address of this host or its own network")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL without user name and password; a token belongs into its path or query")
    return value


def _is_near(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private


def bare(url: str) -> str:
    """A URL as it may be shown where its path can be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"


def _home(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str) else value


CoinAmount = Annotated[int, BeforeValidator(_wei)]
AddressText = Annotated[str, BeforeValidator(_address)]
Addresses = Annotated[tuple[AddressText, ...], BeforeValidator(listed)]
Numbers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(listed)]
Served = Annotated[Literal["all"] | tuple[AddressText, ...], BeforeValidator(_served)]
EgressPolicy = Literal["none", "callback-only", "internet"]
EgressPolicies = Annotated[dict[AddressText, EgressPolicy], BeforeValidator(_paired)]
IsolationLevel = Literal["hardened", "user-namespace", "gvisor"]
IsolationLevels = Annotated[dict[AddressText, IsolationLevel], BeforeValidator(_paired)]
ReceiverUrl = Annotated[str, BeforeValidator(receiver)]
HttpUrl = Annotated[str, _web("http", "https")]
EndpointUrls = Annotated[tuple[Annotated[str, _web("http", "https", "ws", "wss")], ...], BeforeValidator(listed)]
SocketUrl = Annotated[str, _web("ws", "wss")]
UserPath = Annotated[Path, BeforeValidator(_home)]
CountByAddress = Annotated[dict[AddressText, Annotated[int, Field(ge=1, le=16)]], BeforeValidator(_paired)]
BidByAddress = Annotated[dict[AddressText, str], BeforeValidator(_paired)]
CoinByAddress = Annotated[dict[AddressText, CoinAmount], BeforeValidator(_paired)]
SpansOfHours = Annotated[tuple[Annotated[str, AfterValidator(_span)], ...], BeforeValidator(listed)]
PriceByHours = Annotated[dict[Annotated[str, AfterValidator(_span)], Decimal], BeforeValidator(_paired)]
Registries = Annotated[tuple[Annotated[str, AfterValidator(_registry)], ...], BeforeValidator(listed)]
RegistryFiles = Annotated[dict[str, UserPath], BeforeValidator(_paired)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
