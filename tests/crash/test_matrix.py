"""Every kill point with the two faults that are no kill: an error there, and an effect whose answer is lost.

In memory, with the true stages, conductor, store rules and sender. An error that nothing handles ends a service, and
with it the daemon; the next one goes on. `test_kill` is the third kind, SIGKILL of a real process.
"""

import pytest

from ogpu_provider.domain import killpoints
from ogpu_provider.domain.errors import DispatchError, PinError, ProviderError, Retry, RpcUnavailable, StoreError
from ogpu_provider.domain.killpoints import AFTER_AN_EFFECT, POINTS, arm
from ogpu_provider.domain.task import TaskState
from tests.crash.inmemory import Whole, audit, drive

IN_MEMORY = [point for point in POINTS if "responded" not in point]
"""RESPONDED belongs to manual confirmation, which needs a client; `test_kill` has one."""


def lost(point: str) -> ProviderError:
    """What the adapter behind a point says when it does not know whether it worked."""
    if point.endswith(".sent"):
        return RpcUnavailable("no answer")
    if point == "container.called":
        return DispatchError("no answer", code="dispatch.unreachable", retry=Retry.LATER)
    if point == "pin.done":
        return PinError("no answer", code="pin.unavailable", retry=Retry.LATER)
    return StoreError("no answer", code="store.io", retry=Retry.LATER)


async def survives(point: str, error: ProviderError) -> Whole:
    whole = Whole()
    fired = []

    def act() -> None:
        fired.append(point)
        raise error

    arm(point, act)
    try:
        await drive(whole, publish=2)
    finally:
        arm("")
    assert fired == [point]
    await audit(whole)
    return whole


@pytest.mark.parametrize("point", IN_MEMORY)
async def test_an_error_at(point: str) -> None:
    await survives(point, ProviderError("injected", code="fault", retry=Retry.LATER))


@pytest.mark.parametrize("point", [point for point in IN_MEMORY if point in AFTER_AN_EFFECT])
async def test_an_effect_whose_answer_is_lost_at(point: str) -> None:
    await survives(point, lost(point))


async def test_without_a_fault_nothing_is_done_twice() -> None:
    whole = Whole()
    await drive(whole, publish=5)
    await audit(whole)
    assert whole.deaths == 0
    assert set(whole.node.sends.values()) == {1}
    assert len(whole.outside.runtime.dispatched) == 5
    states = [(await whole.outside.journal.task(task)).state for task in whole.tasks]  # type: ignore[union-attr]
    assert states == [TaskState.SETTLED] * 5


def test_the_points_are_many_and_none_is_armed_by_itself() -> None:
    assert len(POINTS) >= 30
    assert len(POINTS) == len(set(POINTS))
    assert killpoints._armed == ""
    with pytest.raises(ValueError, match="no kill point"):
        arm("nowhere")
