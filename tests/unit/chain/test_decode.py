"""Logs and headers, as nodes and liars send them."""

from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.chain.contracts import EVENTS, checksummed, topic
from ogpu_provider.chain.decode import TOPICS, Bloom, Decoder, block, quantity
from ogpu_provider.chain.networks import MAINNET
from ogpu_provider.domain import facts
from ogpu_provider.domain.errors import ChainError
from ogpu_provider.domain.facts import Origin, TaskStatus
from ogpu_provider.domain.source import Environment, SourceStatus
from ogpu_provider.domain.units import Hash

A = checksummed("0x" + "aa" * 20)
B = checksummed("0x" + "bb" * 20)
BLOCK, TX = Hash("0x" + "1b" * 32), Hash("0x" + "2c" * 32)
ORIGIN = Origin(16, BLOCK, TX, 3)
_UPDATED = (A, "url", 1, 2, 3, 4, False, "", 0, 5)


def log(name: str, *values: Any, **changes: Any) -> dict[str, Any]:
    address = MAINNET.nexus if name.startswith("Nexus") else MAINNET.terminal
    return {
        "address": address.lower(),
        "topics": [topic(name)],
        "data": "0x" + encode(EVENTS[name], values).hex(),
        "blockNumber": "0x10",
        "blockHash": BLOCK,
        "transactionHash": TX,
        "logIndex": "0x3",
        "removed": False,
        **changes,
    }


def decoder() -> Decoder:
    return Decoder(MAINNET.nexus, MAINNET.terminal)


@pytest.mark.parametrize(
    ("raw", "fact"),
    [
        (log("Nexus.TaskPublished", A, B), facts.TaskPublished(ORIGIN, A, B)),
        (log("Nexus.Attempted", A, B, 7), facts.Attempted(ORIGIN, A, B, 7)),
        (log("Nexus.Registered", A, 9, B, 2), facts.Registered(ORIGIN, A, B, Environment.NVIDIA)),
        (log("Nexus.ResponseSubmitted", A, B), facts.ResponseSubmitted(ORIGIN, A, B)),
        (log("Nexus.TaskStatusChanged", A, 5), facts.TaskStatusChanged(ORIGIN, A, TaskStatus.FINALIZED)),
        (log("Nexus.SourcePublished", A), facts.SourcePublished(ORIGIN, A)),
        (log("Nexus.SourceUpdated", A, _UPDATED), facts.SourceUpdated(ORIGIN, A)),
        (log("Nexus.SourceStatusChanged", A, 1), facts.SourceStatusChanged(ORIGIN, A, SourceStatus.INACTIVE)),
        (log("Terminal.RemoveContainer", A, B), facts.RemoveContainer(ORIGIN, A, B)),
        (log("Terminal.ProviderRemoved", A), facts.ProviderRemoved(ORIGIN, A)),
    ],
)
def test_each_event_becomes_its_fact(raw: dict[str, Any], fact: facts.Fact) -> None:
    subject = decoder()
    assert subject.fact(raw) == fact
    assert (subject.malformed, subject.foreign) == (0, 0)


def test_every_event_of_the_table_is_asked_for() -> None:
    assert set(TOPICS) == {topic(name) for name in EVENTS}


def test_other_events_of_our_contracts_are_nothing() -> None:
    subject = decoder()
    assert subject.fact(log("Nexus.SourcePublished", A, topics=["0x" + "99" * 32])) is None
    assert subject.fact(log("Nexus.SourcePublished", A, topics=[])) is None
    assert (subject.malformed, subject.foreign) == (0, 0)


def test_an_event_of_another_contract_is_not_believed() -> None:
    subject = decoder()
    assert subject.fact(log("Nexus.TaskPublished", A, B, address=A)) is None
    assert subject.foreign == 1
    assert subject.fact(log("Nexus.TaskPublished", A, B, address=MAINNET.terminal)) is None  # not the Terminal's to say


def test_a_log_that_was_taken_back_is_nothing() -> None:
    assert decoder().fact(log("Nexus.TaskPublished", A, B, removed=True)) is None


@pytest.mark.parametrize(
    "raw",
    [
        log("Nexus.TaskPublished", A, B, data="0x"),
        log("Nexus.TaskPublished", A, B, data="0x" + "11" * 64),
        log("Nexus.TaskPublished", A, B, data=None),
        log("Nexus.TaskStatusChanged", A, 6),
        log("Nexus.Registered", A, 1, B, 3),
        log("Nexus.TaskPublished", A, B, blockNumber=16),
        log("Nexus.TaskPublished", A, B, blockHash="0x12"),
        log("Nexus.TaskPublished", A, B, logIndex=None),
        log("Nexus.TaskPublished", A, B, topics=[7]),
        {},
    ],
)
def test_a_malformed_log_is_counted_and_left_out(raw: dict[str, Any]) -> None:
    subject = decoder()
    good = log("Nexus.TaskPublished", B, A)
    assert subject.facts([raw, good]) == [facts.TaskPublished(ORIGIN, B, A)]
    assert subject.malformed == 1


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(log("Nexus.SourcePublished", A))), _JUNK))
def test_no_log_whatever_raises(changes: dict[str, Any]) -> None:
    decoder().fact({**log("Nexus.SourcePublished", A), **changes})


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_facts_are_in_chain_order_and_once(places: list[tuple[int, int]]) -> None:
    logs = [log("Nexus.SourcePublished", A, blockNumber=hex(number), logIndex=hex(index)) for number, index in places]
    for one, (number, _) in zip(logs, places, strict=True):
        one["blockHash"] = f"0x{number:064x}"
    found = [(fact.origin.block_number, fact.origin.log_index) for fact in decoder().facts(logs)]
    assert found == sorted(set(places))


HEADER = {
    "number": "0x10",
    "hash": BLOCK.upper().replace("0X", "0x"),
    "parentHash": TX,
    "timestamp": "0x65",
    "baseFeePerGas": "0x7",
}


def test_a_header_becomes_a_block() -> None:
    assert block(HEADER) == facts.Block(16, BLOCK, TX, 101, 7)
    assert block({**HEADER, "baseFeePerGas": None}).base_fee is None


@pytest.mark.parametrize(
    "header", [None, {}, [], {**HEADER, "number": 16}, {**HEADER, "hash": "0x"}, {**HEADER, "timestamp": "z"}]
)
def test_a_malformed_header_is_an_error_that_may_pass(header: object) -> None:
    with pytest.raises(ChainError) as caught:
        block(header)
    assert (caught.value.code, str(caught.value.retry)) == ("chain.malformed", "later")


def test_quantities_are_hexadecimal() -> None:
    assert quantity("0x1f") == 31
    with pytest.raises(ValueError):
        quantity("31")


def test_a_bloom_holds_what_was_put_in_and_little_else() -> None:
    nexus = Bloom([MAINNET.nexus])
    bits = hex(nexus._masks[0])
    assert nexus.may_hold(bits)
    assert not Bloom([MAINNET.terminal]).may_hold(bits)
    assert not nexus.may_hold("0x" + "00" * 256)
    assert not nexus.may_hold(None)
    assert not nexus.may_hold("bloom")
