"""What we ask for where the client confirms: in the attempt, in the response, and over a restart the same number."""

from collections.abc import Callable

from ogpu_provider.chain import contracts
from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import COIN, Address, Wei
from ogpu_provider.scheduler.circumstances import Circumstances
from ogpu_provider.scheduler.rules import AdmissionPolicy
from tests.fakes.chain import NEXUS, US
from tests.unit.pipeline.stage import Daemon, Outside, running, serving


def asking(*bids: Wei) -> Callable[[Candidate], Circumstances]:
    """Another bid each time that somebody asks."""
    left = list(bids)

    def assess(candidate: Candidate) -> Circumstances:
        manual = candidate.delivery is DeliveryMethod.MANUAL_CONFIRMATION
        return Circumstances(bid=(left.pop(0) if len(left) > 1 else left[0]) if manual else None)

    return assess


async def sent(daemon: Daemon, task: Address) -> list[bytes]:
    return [row.intent.data for row in await daemon.outside.journal.intents_of(task)]


async def test_the_same_bid_is_in_the_attempt_and_in_the_response() -> None:
    outside = Outside()
    source = outside.source(DeliveryMethod.MANUAL_CONFIRMATION)
    async with running(outside, assess=asking(COIN // 4, 7)) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source, payment=COIN)
        await daemon.mine()
        await daemon.mine()
        row = await daemon.task(task)
        assert (row.state, row.payment, row.bid) == (TaskState.RESPONDED, COIN, COIN // 4)
        assert await sent(daemon, task) == [
            contracts.attempt(NEXUS, task, US, COIN // 4).data,
            contracts.submit_response(NEXUS, task, US, row.link, COIN // 4).data,
        ]


async def test_a_restart_between_attempt_and_response_keeps_the_bid() -> None:
    outside = Outside()
    source = outside.source(DeliveryMethod.MANUAL_CONFIRMATION, answers=False)
    async with running(outside, assess=asking(COIN // 4)) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source, payment=COIN)
        await daemon.mine()
        assert (await daemon.task(task)).state is TaskState.EXECUTING
    async with running(outside, assess=asking(3)) as again:
        await serving(again, source)
        await again.results.accept(source, task, b'{"result": 42}')
        await again.mine()
        row = await again.task(task)
        assert (await sent(again, task))[1] == contracts.submit_response(NEXUS, task, US, row.link, COIN // 4).data


async def test_a_first_response_asks_for_the_payment() -> None:
    outside = Outside()
    source = outside.source()
    async with running(outside, assess=asking(COIN // 4)) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source, payment=COIN)
        assert (await sent(daemon, task))[0] == contracts.attempt(NEXUS, task, US, COIN).data


async def test_a_bid_below_the_operators_floor_is_not_made() -> None:
    outside = Outside()
    source = outside.source(DeliveryMethod.MANUAL_CONFIRMATION)
    async with running(outside, assess=asking(COIN // 4), admission=AdmissionPolicy(min_payment=COIN // 2)) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source, payment=COIN)
        row = await daemon.task(task)
        assert (row.state, row.code) == (TaskState.DECLINED, "payment.below_floor")
        assert "our bid is 0.25 of 1 OGPU" in row.reason
        assert await sent(daemon, task) == []
