import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.task import EDGES, HOLDING, OVER, Task, TaskState
from ogpu_provider.domain.units import Address, coin, short, wei

S = TaskState


def reachable(start: TaskState) -> set[TaskState]:
    found, todo = {start}, [start]
    while todo:
        for after in EDGES[todo.pop()] - found:
            found.add(after)
            todo.append(after)
    return found


def test_every_state_has_a_row_in_the_edge_table() -> None:
    assert set(EDGES) == set(TaskState)


def test_every_state_can_be_reached_from_seen() -> None:
    assert reachable(S.SEEN) == set(TaskState)


def test_every_live_state_can_end_paid_and_can_fail() -> None:
    for state in set(TaskState) - OVER:
        assert S.SETTLED in reachable(state)
        assert {S.FAILED, S.EXPIRED, S.CANCELED, S.LOST} <= EDGES[state]


def test_an_end_is_an_end_except_that_a_declined_task_may_become_an_obligation() -> None:
    for state in OVER - {S.DECLINED}:
        assert not EDGES[state]
    assert EDGES[S.DECLINED] == {S.SEEN}


def test_nothing_is_declined_once_it_was_promised() -> None:
    promised = reachable(S.ATTEMPTED)
    assert S.DECLINED not in promised


def test_a_task_holds_its_lease_exactly_in_the_holding_states() -> None:
    for state in TaskState:
        task = Task(Address("0x1"), Address("0x2"), state, 1, 0.0, slots=1)
        assert (task.lease is not None) == (state in HOLDING)


@given(st.integers(min_value=0, max_value=10**30))
def test_coin_and_wei_are_inverse(amount: int) -> None:
    assert wei(coin(amount)) == amount


@pytest.mark.parametrize("text", ["-1", "0.0000000000000000001", "NaN", "Infinity", "-Infinity"])
def test_an_amount_that_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        wei(text)


def test_a_mask_names_its_environments() -> None:
    assert Environment.of_mask(0b101) == {Environment.CPU, Environment.AMD}
    assert Environment.of_mask(0) == frozenset()
    assert Environment.NVIDIA.label == "nvidia"


def test_short_keeps_both_ends() -> None:
    assert short("0x1234567890abcdef") == "0x1234…cdef"
    assert short("0x1") == "0x1"
