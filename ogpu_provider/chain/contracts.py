"""The part of the OGPU contracts that a provider and a client use: signatures, calldata, answers. Pure.

The table is written by hand from the public interface; a test compares it with the ABIs that the `ogpu` package
ships. Strings are decoded as bytes and then leniently: text on chain is anybody's, and need not be UTF-8.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, TypeVar

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from ogpu_provider.domain.errors import ChainError, Retry
from ogpu_provider.domain.facts import ResponseStatus, TaskStatus, TaskView
from ogpu_provider.domain.source import DeliveryMethod, Environment, SourceParams, SourceStatus
from ogpu_provider.domain.units import ZERO_ADDRESS, Address, Wei

_E = TypeVar("_E", bound=IntEnum)
_SOURCE = "(address,string,uint8,uint256,uint256,uint256,bool,string,uint8,uint256)"
_RESPONSE = "(address,address,string,uint256)"
_TASK = "(address,string,uint256,uint256)"

# contract.function: (argument types, result types)
CALLS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Nexus.register": (("address", "address", "uint8"), ()),
    "Nexus.unregister": (("address", "address"), ()),
    "Nexus.attempt": (("address", "address", "uint256"), ()),
    "Nexus.submitResponse": ((_RESPONSE,), ()),
    "Nexus.getSourceCount": ((), ("uint256",)),
    "Nexus.getSources": (("uint256", "uint256"), ("address[]",)),
    "Nexus.sources": (("uint256",), ("address",)),
    "Nexus.manager": ((), ("address",)),
    "Controller.publishTask": ((_TASK,), ()),
    "Controller.cancelTask": (("address",), ()),
    "Controller.confirmResponse": (("address",), ()),
    "Terminal.announceMaster": (("address",), ()),
    "Terminal.announceProvider": (("address", "uint256"), ()),  # the master's; payable
    "Terminal.removeProvider": (("address",), ()),  # the master's
    "Terminal.setBaseData": (("string",), ()),
    "Terminal.setLiveData": (("string",), ()),
    "Terminal.masterOf": (("address",), ("address",)),
    "Terminal.providerOf": (("address",), ("address",)),
    "Terminal.isMaster": (("address",), ("bool",)),
    "Terminal.isProvider": (("address",), ("bool",)),
    "Terminal.isAgentOf": (("address", "address"), ("bool",)),
    "Terminal.defaultAgentDisabled": (("address",), ("bool",)),
    "Terminal.baseDataOf": (("address",), ("string",)),
    "Terminal.liveDataOf": (("address",), ("string",)),
    "Source.getSourceParams": ((), (_SOURCE,)),
    "Source.getStatus": ((), ("uint8",)),
    "Source.getTaskCount": ((), ("uint256",)),
    "Source.getTasks": (("uint256", "uint256"), ("address[]",)),
    "Source.tasks": (("uint256",), ("address",)),
    "Source.getRegistrantCount": ((), ("uint256",)),
    "Source.getRegistrantId": (("address",), ("uint256",)),
    "Source.registrants": (("uint256",), ("address",)),
    "Source.preferredEnvironmentOf": (("address",), ("uint8",)),
    "Task.taskParams": ((), ("address", "string", "uint256", "uint256")),
    "Task.getStatus": ((), ("uint8",)),
    "Task.getExpiryTime": ((), ("uint256",)),
    "Task.getDeliveryMethod": ((), ("uint8",)),
    "Task.getAttemptCount": ((), ("uint256",)),
    "Task.getAttempterId": (("address",), ("uint256",)),
    "Task.attempters": (("uint256",), ("address",)),
    "Task.getAttempters": (("uint256", "uint256"), ("address[]",)),
    "Task.getAttemptTimestamps": (("uint256", "uint256"), ("uint256[]",)),
    "Task.getResponsesOf": (("uint256", "uint256"), ("address[]",)),
    "Task.responseOf": (("address",), ("address",)),
    "Task.winningProvider": ((), ("address",)),
    "Response.getResponseParams": ((), (_RESPONSE,)),
    "Response.getStatus": ((), ("uint8",)),
    "Response.responseTimestamp": ((), ("uint256",)),
    "Response.confirmedFinal": ((), ("bool",)),
    "Vault.balanceOf": (("address",), ("uint256",)),
    "Vault.lockupOf": (("address",), ("uint256",)),
    "Vault.unbondingOf": (("address",), ("uint256",)),
    "Vault.unbondingTimestamp": (("address",), ("uint256",)),
    "Vault.totalEarningsOf": (("address",), ("uint256",)),
    "Vault.sanctionOf": (("address",), ("uint256",)),
    "Vault.isEligible": (("address",), ("bool",)),
    "Vault.isWhitelisted": (("address",), ("bool",)),
    "Vault.MIN_LOCKUP_PER_SOURCE": ((), ("uint256",)),
    "Vault.UNBONDING_PERIOD": ((), ("uint256",)),
    "Vault.deposit": (("address",), ()),
    "Vault.withdraw": (("uint256",), ()),
    "Vault.lock": (("uint256",), ()),
    "Vault.unbond": (("uint256",), ()),
    "Vault.cancelUnbonding": ((), ()),  # mainnet only
    "Vault.claim": ((), ()),
    "Manager.hasRole": (("bytes32", "address"), ("bool",)),
    "Manager.PROVIDER": ((), ("bytes32",)),
    "Manager.CONTROLLER": ((), ("bytes32",)),
    "Manager.JUDGE": ((), ("bytes32",)),
}

# contract.event: argument types; none of them is indexed
EVENTS: Mapping[str, tuple[str, ...]] = {
    "Nexus.TaskPublished": ("address", "address"),
    "Nexus.Attempted": ("address", "address", "uint256"),
    "Nexus.Registered": ("address", "uint256", "address", "uint8"),
    "Nexus.ResponseSubmitted": ("address", "address"),
    "Nexus.TaskStatusChanged": ("address", "uint8"),
    "Nexus.SourcePublished": ("address",),
    "Nexus.SourceStatusChanged": ("address", "uint8"),
    "Nexus.SourceUpdated": ("address", _SOURCE),
    "Terminal.RemoveContainer": ("address", "address"),
    "Terminal.ProviderRemoved": ("address",),
}


def signature(name: str) -> str:
    """'Nexus.attempt' -> 'attempt(address,address,uint256)'; calls and events."""
    types = CALLS[name][0] if name in CALLS else EVENTS[name]
    return f"{name.partition('.')[2]}({','.join(types)})"


@lru_cache(maxsize=256)
def selector(name: str) -> bytes:
    return keccak(text=signature(name))[:4]


@lru_cache(maxsize=64)
def topic(name: str) -> str:
    """topic0 of an event: 0x and 64 lower-case hex digits."""
    return "0x" + keccak(text=signature(name)).hex()


@lru_cache(maxsize=2048)
def checksummed(address: str) -> Address:
    """Raises ValueError if it is not an address."""
    return Address(to_checksum_address(address))


class Malformed(ChainError):
    """An answer that does not have the shape of the contract asked. Empty answers come from a node that lags behind
    the contract's creation, hence LATER."""

    default_code = "chain.malformed"
    default_retry = Retry.LATER


def encode_call(name: str, *args: Any) -> bytes:
    """Calldata. Raises ValueError or TypeError (eth_abi's errors are of these) for arguments of other types."""
    return selector(name) + encode(CALLS[name][0], args)


def decode_result(name: str, data: str | bytes) -> Any:
    """The result of a call, a tuple where there are several. Addresses are checksummed, strings are text.

    Raises Malformed.
    """
    types = CALLS[name][1]
    try:
        raw = bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else data
        if not raw:
            raise Malformed(f"{name}: empty answer, the node may not know the contract yet", code="chain.empty_answer")
        values = decode([kind.replace("string", "bytes") for kind in types], raw)
        shaped = tuple(_shape(kind, value) for kind, value in zip(types, values, strict=True))
    except (DecodingError, ValueError, TypeError, OverflowError) as err:
        raise Malformed(f"{name}: answer does not decode ({type(err).__name__})") from err
    return shaped[0] if len(shaped) == 1 else shaped


def _shape(kind: str, value: Any) -> Any:
    if kind == "address":
        return checksummed(value)
    if kind == "string":
        return value.decode("utf-8", errors="replace")
    if kind == "address[]":
        return tuple(checksummed(item) for item in value)
    if kind.startswith("("):
        return tuple(_shape(part, item) for part, item in zip(kind[1:-1].split(","), value, strict=True))
    return value


def present(address: Address) -> Address | None:
    """The contracts say 'nobody' with the zero address."""
    return None if address == ZERO_ADDRESS else address


def task_view(address: Address, params: str, status: TaskStatus = TaskStatus.NEW) -> TaskView:
    """From the answer of Task.taskParams. Raises Malformed."""
    source, config, expiry, payment = decode_result("Task.taskParams", params)
    return TaskView(address, source, config, expiry, payment, status)


def task_status(data: str) -> TaskStatus:
    """Raises Malformed, as the two below."""
    return _member(TaskStatus, "Task.getStatus", data)


def response_status(data: str) -> ResponseStatus:
    return _member(ResponseStatus, "Response.getStatus", data)


def source_params(address: Address, params: str, status: str) -> SourceParams:
    """From the answers of Source.getSourceParams and Source.getStatus."""
    (client, url, mask, min_payment, lockup, max_expiry, _privacy, _optional, delivery, updated) = decode_result(
        "Source.getSourceParams", params
    )
    try:
        method = DeliveryMethod(delivery)
    except ValueError as err:
        raise Malformed(f"source {address}: delivery method {delivery} is not known") from err
    return SourceParams(
        address=address,
        client=client,
        metadata_url=url,
        environments=Environment.of_mask(mask),
        min_payment=min_payment,
        min_available_lockup=lockup,
        max_expiry_duration=max_expiry,
        delivery=method,
        last_update=updated,
        status=_member(SourceStatus, "Source.getStatus", status),
    )


def _member(enum: type[_E], name: str, data: str) -> _E:
    value = decode_result(name, data)
    try:
        return enum(value)
    except ValueError as err:
        raise Malformed(f"{name}: {value} is not known") from err


@dataclass(frozen=True, slots=True)
class Calldata:
    """What a transaction does: recipient and input."""

    to: Address
    data: bytes


def register(nexus: Address, source: Address, provider: Address, environment: Environment) -> Calldata:
    return Calldata(nexus, encode_call("Nexus.register", source, provider, int(environment)))


def unregister(nexus: Address, source: Address, provider: Address) -> Calldata:
    return Calldata(nexus, encode_call("Nexus.unregister", source, provider))


def attempt(nexus: Address, task: Address, provider: Address, payment: Wei) -> Calldata:
    """Encoded by hand, as the response: both stand between somebody's block and our answer to it."""
    return Calldata(nexus, selector("Nexus.attempt") + _words(task, provider, payment))


def submit_response(nexus: Address, task: Address, provider: Address, link: str, payment: Wei) -> Calldata:
    text = link.encode()
    head = _words(32, task, provider, 4 * 32, payment, len(text))
    return Calldata(nexus, selector("Nexus.submitResponse") + head + text + bytes(-len(text) % 32))


def _words(*values: Address | int) -> bytes:
    """Addresses and numbers, 32 bytes each. Raises ValueError, OverflowError for what is neither."""
    return b"".join(
        value.to_bytes(32, "big") if isinstance(value, int) else bytes(12) + _address_bytes(value) for value in values
    )


def _address_bytes(address: Address) -> bytes:
    raw = bytes.fromhex(address[2:])
    if not address.startswith("0x") or len(raw) != 20:
        raise ValueError(f"{address!r} is not an address")
    return raw


def announce_master(terminal: Address, master: Address) -> Calldata:
    return Calldata(terminal, encode_call("Terminal.announceMaster", master))


def set_base_data(terminal: Address, link: str) -> Calldata:
    return Calldata(terminal, encode_call("Terminal.setBaseData", link))


def set_live_data(terminal: Address, link: str) -> Calldata:
    return Calldata(terminal, encode_call("Terminal.setLiveData", link))


def publish_task(controller: Address, source: Address, config_url: str, expiry: int, payment: Wei) -> Calldata:
    return Calldata(controller, encode_call("Controller.publishTask", (source, config_url, expiry, payment)))


def cancel_task(controller: Address, task: Address) -> Calldata:
    return Calldata(controller, encode_call("Controller.cancelTask", task))


def confirm_response(controller: Address, response: Address) -> Calldata:
    return Calldata(controller, encode_call("Controller.confirmResponse", response))
