"""Our table of calls and events, held against the ABIs that the official SDK ships."""

import contextlib
import json
from importlib.resources import files
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.chain import contracts
from ogpu_provider.chain.contracts import (
    CALLS,
    EVENTS,
    Malformed,
    decode_result,
    encode_call,
    selector,
    signature,
    topic,
)
from ogpu_provider.domain.facts import ResponseStatus, TaskStatus
from ogpu_provider.domain.source import DeliveryMethod, Environment, SourceStatus
from ogpu_provider.domain.units import ZERO_ADDRESS, Address

A = contracts.checksummed("0x" + "aa" * 20)
B = contracts.checksummed("0x" + "bb" * 20)
MAINNET_ONLY = {"Vault.cancelUnbonding"}


def abi(network: str, contract: str) -> list[dict[str, Any]]:
    text = files("ogpu").joinpath("chain", "abis", network, f"{contract}Abi.json").read_text()
    found: list[dict[str, Any]] = json.loads(text)
    return found


def kind(parameter: dict[str, Any]) -> str:
    if not parameter["type"].startswith("tuple"):
        return str(parameter["type"])
    return f"({','.join(kind(one) for one in parameter['components'])}){parameter['type'][5:]}"


def entry(network: str, name: str, what: str) -> dict[str, Any]:
    contract, _, wanted = name.partition(".")
    [found] = [one for one in abi(network, contract) if one["type"] == what and one["name"] == wanted]
    return found


@pytest.mark.parametrize("network", ["mainnet", "testnet"])
@pytest.mark.parametrize("name", CALLS)
def test_every_call_has_the_types_of_the_published_abi(network: str, name: str) -> None:
    if network == "testnet" and name in MAINNET_ONLY:
        return
    published = entry(network, name, "function")
    arguments, results = CALLS[name]
    assert tuple(kind(one) for one in published["inputs"]) == arguments
    assert tuple(kind(one) for one in published["outputs"]) == results


@pytest.mark.parametrize("network", ["mainnet", "testnet"])
@pytest.mark.parametrize("name", EVENTS)
def test_every_event_has_the_types_of_the_published_abi_and_no_index(network: str, name: str) -> None:
    published = entry(network, name, "event")
    assert tuple(kind(one) for one in published["inputs"]) == EVENTS[name]
    assert not any(one["indexed"] for one in published["inputs"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Nexus.register", "e97791e6"),
        ("Nexus.unregister", "4a45b60b"),
        ("Nexus.attempt", "84895f34"),
        ("Nexus.submitResponse", "2cbb753b"),
        ("Terminal.announceMaster", "60b08e23"),
        ("Terminal.setBaseData", "0cac8f04"),
        ("Terminal.setLiveData", "ac17960f"),
    ],
)
def test_selectors_are_those_of_the_public_network(name: str, expected: str) -> None:
    assert selector(name).hex() == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Nexus.TaskPublished", "0x3bf5b04cf8ed447db6fda0a63a96369fd5dde6b366b6b480e784be44b26a6c22"),
        ("Nexus.SourceUpdated", "0x5f9bf4e8a1679156115361af50849b7807ce9be1880b79fc30ded34053274895"),
        ("Terminal.RemoveContainer", "0x79e09fd22a9a49d4ea58382902765ac3bf5901408bdc6aa19a8f391d15bfb764"),
    ],
)
def test_topics_are_those_of_the_public_network(name: str, expected: str) -> None:
    assert topic(name) == expected


def test_signatures_are_written_as_solidity_hashes_them() -> None:
    assert signature("Nexus.attempt") == "attempt(address,address,uint256)"
    assert signature("Nexus.submitResponse") == "submitResponse((address,address,string,uint256))"


def test_calldata_is_what_an_independent_encoder_makes() -> None:
    sent = contracts.submit_response(A, B, A, "https://example.org/ipfs/Qm", 7)
    assert sent.to == A
    assert sent.data[:4].hex() == "2cbb753b"
    assert sent.data[4:] == encode(["(address,address,string,uint256)"], [(B, A, "https://example.org/ipfs/Qm", 7)])
    registered = contracts.register(A, B, A, Environment.NVIDIA)
    assert registered.data[4:] == encode(["address", "address", "uint8"], [B, A, 2])


def test_each_builder_calls_what_its_name_says() -> None:
    built = {
        "Nexus.register": contracts.register(A, B, A, Environment.CPU),
        "Nexus.unregister": contracts.unregister(A, B, A),
        "Nexus.attempt": contracts.attempt(A, B, A, 1),
        "Nexus.submitResponse": contracts.submit_response(A, B, A, "x", 1),
        "Terminal.announceMaster": contracts.announce_master(A, B),
        "Terminal.setBaseData": contracts.set_base_data(A, "x"),
        "Terminal.setLiveData": contracts.set_live_data(A, "x"),
    }
    assert {name: what.data[:4] for name, what in built.items()} == {name: selector(name) for name in built}
    assert {what.to for what in built.values()} == {A}


def params_data(config: bytes = b"https://example.org/c.json", expiry: int = 99, payment: int = 5) -> str:
    return "0x" + encode(["address", "bytes", "uint256", "uint256"], [A, config, expiry, payment]).hex()


def source_data(delivery: int = 1, mask: int = 3) -> str:
    fields = (A, "https://example.org/m.json", mask, 1, 2, 3, False, "", delivery, 4)
    return "0x" + encode([CALLS["Source.getSourceParams"][1][0]], [fields]).hex()


def word(value: int) -> str:
    return f"0x{value:064x}"


def test_a_task_is_read_from_its_parameters() -> None:
    view = contracts.task_view(B, params_data(), TaskStatus.ATTEMPTED)
    assert (view.address, view.source, view.config_url) == (B, A, "https://example.org/c.json")
    assert (view.expiry, view.payment, view.status) == (99, 5, TaskStatus.ATTEMPTED)


def test_text_that_is_not_utf8_is_read_all_the_same() -> None:
    assert contracts.task_view(B, params_data(b"\xff\xfe/x")).config_url == "\ufffd\ufffd/x"


def test_a_source_is_read_from_parameters_and_status() -> None:
    params = contracts.source_params(B, source_data(), word(1))
    assert params.environments == {Environment.CPU, Environment.NVIDIA}
    assert (params.delivery, params.status) == (DeliveryMethod.FIRST_RESPONSE, SourceStatus.INACTIVE)
    assert (params.min_payment, params.min_available_lockup, params.max_expiry_duration, params.last_update) == (
        1,
        2,
        3,
        4,
    )


def test_statuses_beyond_the_protocol_are_malformed() -> None:
    assert contracts.task_status(word(5)) is TaskStatus.FINALIZED
    assert contracts.response_status(word(1)) is ResponseStatus.CONFIRMED
    for read in (contracts.task_status, contracts.response_status):
        with pytest.raises(Malformed):
            read(word(9))
    with pytest.raises(Malformed):
        contracts.source_params(B, source_data(delivery=7), word(0))


def test_an_empty_answer_may_pass() -> None:
    with pytest.raises(Malformed) as caught:
        decode_result("Task.taskParams", "0x")
    assert (caught.value.code, str(caught.value.retry)) == ("chain.empty_answer", "later")


@given(st.binary(max_size=400), st.sampled_from([name for name, (_, results) in CALLS.items() if results]))
def test_any_bytes_decode_or_are_malformed(data: bytes, name: str) -> None:
    with contextlib.suppress(Malformed):
        decode_result(name, "0x" + data.hex())


@given(st.text(max_size=40))
def test_any_text_decodes_or_is_malformed(text: str) -> None:
    with contextlib.suppress(Malformed):
        decode_result("Task.winningProvider", text)


@given(st.binary(min_size=20, max_size=20), st.integers(0, 2**256 - 1))
def test_arguments_survive_the_journey(address: bytes, amount: int) -> None:
    who = contracts.checksummed("0x" + address.hex())
    data = encode_call("Nexus.attempt", who, who, amount)
    assert data[4:36] == data[36:68] == bytes(12) + address
    assert int.from_bytes(data[68:], "big") == amount


def test_nobody_is_none() -> None:
    assert contracts.present(ZERO_ADDRESS) is None
    assert contracts.present(A) == A
    with pytest.raises(ValueError):
        contracts.checksummed(Address("0x12"))


@given(
    st.binary(min_size=20, max_size=20),
    st.binary(min_size=20, max_size=20),
    st.text(max_size=200),
    st.integers(0, 2**256 - 1),
)
def test_calldata_of_the_race_is_what_the_library_encodes(task: bytes, us: bytes, link: str, payment: int) -> None:
    nexus, one, other = (contracts.checksummed("0x" + raw.hex()) for raw in (bytes(20), task, us))
    assert contracts.attempt(nexus, one, other, payment).data == encode_call("Nexus.attempt", one, other, payment)
    made = contracts.submit_response(nexus, one, other, link, payment)
    assert made.data == encode_call("Nexus.submitResponse", (one, other, link, payment))


@pytest.mark.parametrize("task", ["0x", "0x12", "11" * 21, "0x" + "1" * 42])
def test_what_is_no_address_is_not_encoded(task: str) -> None:
    with pytest.raises(ValueError):
        contracts.attempt(contracts.checksummed("0x" + "11" * 20), Address(task), Address("0x" + "11" * 20), 1)
