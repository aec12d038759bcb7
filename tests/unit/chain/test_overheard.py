"""What is remembered of announced logs: no more than will be asked about together."""

import pytest

from ogpu_provider.chain.news import Told
from ogpu_provider.chain.overheard import OPEN_BLOCKS, OPEN_LOGS, SETTLED, Overheard
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.units import Hash

PER_BLOCK = 50


def block(number: int) -> Block:
    return Block(number, Hash(f"0x{number:064x}"), Hash("0x"), 0)


def tell(heard: Overheard, number: int, logs: int = PER_BLOCK) -> None:
    heard.put(
        [
            Told({"blockHash": block(number).hash, "transactionHash": hex(n), "logIndex": "0x0"}, "a")
            for n in range(logs)
        ]
    )
    assert len(heard.take(block(number))) == logs


def test_many_logs_are_asked_about_before_there_are_many_blocks() -> None:
    heard, most = Overheard(), 0
    for number in range(1, 1_000):
        tell(heard, number)
        most = max(most, len(heard))
        if heard.due() and (span := heard.span()) is not None:
            first, end = span
            assert end.number - first < OPEN_LOGS / PER_BLOCK
            assert end.number == number - SETTLED
            heard.settle(end.number)
    assert most <= OPEN_LOGS + PER_BLOCK + OPEN_BLOCKS


def test_one_block_of_many_logs_is_asked_about_once_a_lagging_node_has_it() -> None:
    heard = Overheard()
    tell(heard, 1, 5_000)
    for number in range(2, 2 + SETTLED):
        assert heard.due()
        assert heard.span() is None
        tell(heard, number, 0)
    span = heard.span()
    assert span is not None
    assert (span[0], span[1].number) == (1, 1)


@pytest.mark.parametrize("filled", [False, True])
def test_what_a_second_endpoint_vouches_for_is_forgotten_in_time(filled: bool) -> None:
    heard, most = Overheard(), 0
    if filled:
        heard.learn(promised=True, there=True, marked=True)
    for number in range(1, 5_000):
        tell(heard, number, 5)
        if heard.due():
            heard.vouch(lambda log: True)
        assert not heard.due()
        most = max(most, len(heard))
    assert most <= 6 * (2 * OPEN_BLOCKS + SETTLED)


def test_a_log_that_comes_late_is_of_its_block_and_a_known_one_is_not() -> None:
    heard = Overheard()
    tell(heard, 1, 1)
    known = {"blockHash": block(1).hash, "transactionHash": "0x0", "logIndex": "0x0"}
    assert heard.block_of(known) is None
    assert heard.block_of(known | {"logIndex": "0x1"}) == block(1)
    heard.forget_above(0)
    assert heard.block_of(known | {"logIndex": "0x1"}) is None
