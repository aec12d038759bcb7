import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.documents import nested_deeper, read_json
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


def test_only_what_the_chain_or_an_attempt_can_undo_is_taken_up_again() -> None:
    """A block that is undone takes its ends with it; our own verdicts but DECLINED, and payments, stay."""
    for state in OVER:
        undone = {S.SEEN} if state in (S.DECLINED, S.LOST, S.EXPIRED, S.CANCELED) else set()
        assert EDGES[state] == undone


def test_nothing_is_declined_in_the_step_after_a_promise() -> None:
    for state in (S.ATTEMPTED, S.EXECUTING, S.PRODUCED, S.PINNED, S.SUBMITTED, S.RESPONDED):
        assert S.DECLINED not in EDGES[state]


def test_a_task_holds_its_lease_exactly_in_the_holding_states() -> None:
    for state in TaskState:
        task = Task(Address("0x1"), Address("0x2"), state, 1, 0.0, slots=1)
        assert (task.lease is not None) == (state in HOLDING)


@given(st.integers(min_value=0, max_value=10**30))
def test_coin_and_wei_are_inverse(amount: int) -> None:
    assert wei(coin(amount)) == amount


@pytest.mark.parametrize(
    "text", ["-1", "0.0000000000000000001", "NaN", "Infinity", "-Infinity", "one", "", "1e3", "1.", "٣"]
)
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


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_depth_is_counted_as_nesting_is(value: object) -> None:
    def depth(node: object) -> int:
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        return 1 + max((depth(child) for child in inner), default=0) if isinstance(node, dict | list) else 0

    body = json.dumps(value).encode()
    assert not nested_deeper(body, depth(value))
    assert depth(value) == 0 or nested_deeper(body, depth(value) - 1)
    assert read_json(body) == value


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b'{"a":' * 500_000, b"[" * 200_000 + b"]" * 200_000])
def test_a_deep_document_is_refused_whatever_a_library_did_to_the_recursion_limit(body: bytes) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        with pytest.raises(ValueError, match="nested deeper"):
            read_json(body)
    finally:
        sys.setrecursionlimit(limit)


def test_the_daemon_has_a_sane_recursion_limit() -> None:
    code = "import sys, ogpu_provider.daemon; print(sys.getrecursionlimit())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1000"
