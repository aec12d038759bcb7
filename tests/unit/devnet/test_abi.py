import pytest
from eth_utils.crypto import keccak

from ogpu_provider.devnet.abi import artifact
from ogpu_provider.domain.errors import DevnetError

ADDRESS = "0xF87bb2f3edB991a998992f14d35fE142e6Bb50b1"


@pytest.mark.parametrize(
    ("function", "args", "selector"),
    [
        ("register", (ADDRESS, ADDRESS, 1), "e97791e6"),
        ("unregister", (ADDRESS, ADDRESS), "4a45b60b"),
        ("attempt", (ADDRESS, ADDRESS, 5), "84895f34"),
        ("submitResponse", ((ADDRESS, ADDRESS, "ipfs://x", 5),), "2cbb753b"),
    ],
)
def test_calls_have_the_public_networks_selectors(function: str, args: tuple[object, ...], selector: str) -> None:
    assert artifact("Nexus").encode(function, *args)[:4].hex() == selector


def test_logs_are_told_apart_and_read_with_checksummed_addresses() -> None:
    topic = "0x" + keccak(text="TaskPublished(address,address)").hex()
    data = "0x" + (bytes(12) + bytes.fromhex(ADDRESS[2:])).hex() * 2
    logs = [{"topics": [topic], "data": data}, {"topics": ["0x" + "00" * 32], "data": data}]
    assert artifact("Nexus").events(logs, "TaskPublished") == [{"task": ADDRESS, "source": ADDRESS}]


def test_an_unknown_name_is_an_error_of_ours() -> None:
    with pytest.raises(DevnetError, match="Nexus has no function fly"):
        artifact("Nexus").encode("fly")
