"""Artifacts of the contracts: what creates them and how to speak to them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ogpu_provider.domain.errors import DevnetError

ARTIFACTS = Path(__file__).parent / "artifacts"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract: `bytecode` creates it, `abi` speaks to it."""

    name: str
    abi: tuple[Mapping[str, Any], ...]
    bytecode: bytes

    def encode(self, function: str, *args: Any) -> bytes:
        """Call data of a function; a struct is a tuple in the order of its members."""
        from eth_abi.abi import encode
        from eth_utils.crypto import keccak

        types = _types(self._entry("function", function)["inputs"])
        return keccak(text=f"{function}({','.join(types)})")[:4] + encode(types, args)

    def decode(self, function: str, data: bytes) -> Any:
        """What a call returned: the value alone when there is one, a tuple otherwise. Addresses are checksummed."""
        values = _decode(self._entry("function", function)["outputs"], data)
        return values[0] if len(values) == 1 else values

    def creation(self, *args: Any) -> bytes:
        """Data of the transaction that creates the contract."""
        from eth_abi.abi import encode

        return self.bytecode + encode(_types(self._entry("constructor", None)["inputs"]), args)

    def events(self, logs: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
        """Arguments of every log that is this event; none of the protocol's events has indexed parameters."""
        from eth_utils.crypto import keccak

        inputs = self._entry("event", event)["inputs"]
        topic = "0x" + keccak(text=f"{event}({','.join(_types(inputs))})").hex()
        names = [entry["name"] for entry in inputs]
        found = [bytes.fromhex(log["data"][2:]) for log in logs if log["topics"] == [topic]]
        return [dict(zip(names, _decode(inputs, data), strict=True)) for data in found]

    def _entry(self, kind: str, name: str | None) -> Mapping[str, Any]:
        for entry in self.abi:
            if entry["type"] == kind and entry.get("name") == name:
                return entry
        raise DevnetError(f"{self.name} has no {kind} {name}", code="devnet.artifact")


@cache
def artifact(name: str) -> Artifact:
    """The committed artifact of one contract, e.g. `Nexus`."""
    content = json.loads((ARTIFACTS / f"{name}.json").read_text())
    return Artifact(name, tuple(content["abi"]), bytes.fromhex(content["bytecode"][2:]))


def _types(entries: list[Mapping[str, Any]]) -> list[str]:
    return [_type(entry) for entry in entries]


def _type(entry: Mapping[str, Any]) -> str:
    if not entry["type"].startswith("tuple"):
        return str(entry["type"])
    return f"({','.join(_types(entry['components']))})" + str(entry["type"]).removeprefix("tuple")


def _decode(entries: list[Mapping[str, Any]], data: bytes) -> tuple[Any, ...]:
    from eth_abi.abi import decode

    return _checksummed(entries, decode(_types(entries), data))


def _checksummed(entries: list[Mapping[str, Any]], values: tuple[Any, ...]) -> tuple[Any, ...]:
    from eth_utils.address import to_checksum_address

    def convert(entry: Mapping[str, Any], value: Any) -> Any:
        kind = str(entry["type"])
        if kind.endswith("[]"):
            return tuple(convert({**entry, "type": kind[:-2]}, item) for item in value)
        if kind == "tuple":
            return _checksummed(entry["components"], value)
        return to_checksum_address(value) if kind == "address" else value

    return tuple(convert(entry, value) for entry, value in zip(entries, values, strict=True))
