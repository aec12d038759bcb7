"""The artifacts have everything that the network's published ABIs have, name by name and type by type."""

import json
from importlib.resources import files
from typing import Any

import pytest

from ogpu_provider.devnet.abi import ARTIFACTS

CONTRACTS = ("Controller", "Manager", "Nexus", "Response", "Source", "Task", "Terminal", "Vault")


def described(entry: dict[str, Any]) -> str:
    """One line that holds all of an ABI entry that callers can notice."""
    words = [entry["type"], entry.get("name", ""), entry.get("stateMutability", "")]
    words += ["in", *(parameter(each) for each in entry.get("inputs", ()))]
    words += ["out", *(parameter(each) for each in entry.get("outputs", ()))]
    return " ".join(words + ["anonymous"] * bool(entry.get("anonymous")))


def parameter(entry: dict[str, Any]) -> str:
    members = "".join(f"{{{parameter(each)}}}" for each in entry.get("components", ()))
    indexed = "indexed" * bool(entry.get("indexed"))
    return f"({entry['type']}{members} {indexed} {entry.get('name', '')} as {entry.get('internalType', '')})"


def ours(contract: str) -> set[str]:
    return {described(entry) for entry in json.loads((ARTIFACTS / f"{contract}.json").read_text())["abi"]}


def published(network: str, contract: str) -> set[str]:
    abi = json.loads((files("ogpu.chain") / "abis" / network / f"{contract}Abi.json").read_text())
    return {described(entry) for entry in abi}


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("network", ["testnet", "mainnet"])
def test_nothing_published_is_missing(network: str, contract: str) -> None:
    missing = sorted(published(network, contract) - ours(contract))
    assert not missing, f"{contract} lacks, of {network}:\n" + "\n".join(missing)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_nothing_is_there_that_is_not_published(contract: str) -> None:
    extra = sorted(ours(contract) - published("testnet", contract) - published("mainnet", contract))
    assert not extra, f"{contract} has besides:\n" + "\n".join(extra)
