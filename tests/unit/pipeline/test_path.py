"""A task's way through the real stages, conductor, intake and keeper, with the world in memory."""

from dataclasses import replace

import pytest

from ogpu_provider.domain.errors import DispatchError, EngineError, FetchError, PinError, Retry, RpcUnavailable
from ogpu_provider.domain.facts import ProviderRemoved
from ogpu_provider.domain.intent import Effect, IntentState
from ogpu_provider.domain.source import DeliveryMethod, SourceState
from ogpu_provider.domain.task import ResultOutcome, TaskState
from ogpu_provider.domain.units import COIN
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.ports import Policy
from ogpu_provider.pipeline.wishes import SourcePolicy
from ogpu_provider.scheduler.rules import AdmissionPolicy
from tests.fakes.chain import OTHER, US
from tests.fakes.clock import settle
from tests.unit.pipeline.stage import CONFIG, Outside, running, serving

S = TaskState


@pytest.fixture
def outside() -> Outside:
    return Outside()


async def test_a_task_is_attempted_executed_pinned_submitted_and_settled(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        assert await daemon.state(task) is S.SUBMITTED, "no stage waits for a block"
        assert await daemon.mine() == [Effect.ATTEMPT, Effect.SUBMIT_RESPONSE]
        assert await daemon.state(task) is S.SUBMITTED, "paid, but not deep enough"
        await daemon.block()
        assert await daemon.state(task) is S.SUBMITTED, "deep enough, but the sender has not looked yet"
        await daemon.confirm()
        assert await daemon.state(task) is S.SETTLED
        row = await daemon.task(task)
        assert outside.content.pinned[row.cid] == b'{"result": 42}'
        assert row.response is not None
        assert outside.runtime.logs[0][:2] == (source, task)
        assert daemon.leases == [f"source:{source}"]
    states = [line.after for line in await outside.journal.history(task)]
    path = [S.SEEN, S.ADMITTED, S.READY, S.ATTEMPTED, S.EXECUTING, S.PRODUCED, S.PINNED, S.SUBMITTED, S.SETTLED]
    assert states == path


async def test_the_hot_path_reads_the_chain_once(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        outside.chain.calls.clear()
        task = await daemon.publish(source)
        assert await daemon.state(task) is S.SUBMITTED
        assert outside.chain.calls == {"published": 1}
        await daemon.mine()
        await daemon.block()
        await daemon.confirm()
        assert await daemon.state(task) is S.SETTLED
        assert outside.chain.calls == {"published": 1}


async def test_manual_confirmation_is_settled_by_the_clients_word(outside: Outside) -> None:
    source = outside.source(DeliveryMethod.MANUAL_CONFIRMATION)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.mine()
        assert await daemon.state(task) is S.RESPONDED
        await daemon.block()
        assert await daemon.state(task) is S.RESPONDED
        await daemon.block(outside.chain.confirm(task))
        await daemon.block()
        assert await daemon.state(task) is S.SETTLED


async def test_manual_confirmation_of_somebody_else_is_a_loss(outside: Outside) -> None:
    source = outside.source(DeliveryMethod.MANUAL_CONFIRMATION)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.mine()
        outside.chain.attempt(task, OTHER)
        await daemon.block(*outside.chain.submit(task, OTHER), outside.chain.confirm(task, OTHER))
        await daemon.block()
        assert await daemon.state(task) is S.LOST


async def test_another_providers_first_response_ends_the_work(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.mine()
        assert await daemon.state(task) is S.EXECUTING
        outside.chain.attempt(task, OTHER)
        await daemon.block(*outside.chain.submit(task, OTHER))
        row = await daemon.task(task)
        assert (row.state, row.code) == (S.LOST, "lost.other_won")
        assert daemon.leases == [f"source:{source}"]


async def test_every_reason_of_a_refusal_is_kept_and_no_attempt_is_made(outside: Outside) -> None:
    source = outside.source()
    outside.config("triple", {})
    async with running(outside, admission=AdmissionPolicy(min_payment=2 * COIN, min_time_left=700.0)) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        assert await daemon.state(task) is S.DECLINED
        assert await daemon.mine() == []
    line = (await outside.journal.history(task))[-1]
    assert {reason.code for reason in line.reasons} == {"function.unknown", "payment.below_floor", "time.too_short"}


async def test_an_input_that_does_not_fit_is_declined(outside: Outside) -> None:
    source = outside.source()
    outside.config("double", {"m": 1})
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        assert (await daemon.task(task)).code == "function.invalid_input"


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"{", "config.not_json"), (b"[]", "config.no_function"), (b'{"data": {}}', "config.no_function")],
)
async def test_a_config_that_is_none_is_declined(outside: Outside, body: bytes, code: str) -> None:
    source = outside.source()
    outside.content.documents[CONFIG] = body
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        assert (await daemon.task(task)).code == code


async def test_a_config_that_does_not_answer_is_asked_again_a_few_times(outside: Outside) -> None:
    source = outside.source()
    error = FetchError("no answer", code="fetch.timeout", retry=Retry.LATER)
    outside.content.get_errors[CONFIG] = [error, error]
    async with running(outside) as daemon:
        await serving(daemon, source)
        patient = await daemon.publish(source)
        await outside.clock.advance(10)
        assert await daemon.state(patient) is S.SUBMITTED
        outside.content.get_errors[CONFIG] = [error] * 5
        given_up = await daemon.publish(source)
        await outside.clock.advance(10)
        row = await daemon.task(given_up)
        assert (row.state, row.code) == (S.DECLINED, "fetch.timeout")


async def test_a_full_host_lets_tasks_wait_and_takes_them_when_there_is_room(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        first, second = await daemon.publish(source), await daemon.publish(source)
        assert await daemon.state(first) is S.EXECUTING
        assert await daemon.state(second) is S.SEEN
        await daemon.results.accept(source, first, b'{"result": 1}')
        await settle()
        assert await daemon.state(first) is S.SUBMITTED
        assert await daemon.state(second) is S.EXECUTING


async def test_a_waiting_task_is_let_go_when_it_is_canceled_or_out_of_time(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        await daemon.publish(source)
        canceled, late = await daemon.publish(source), await daemon.publish(source, lasts=30)
        await daemon.block(outside.chain.cancel(canceled))
        assert await daemon.state(canceled) is S.CANCELED
        await outside.clock.advance(25)
        row = await daemon.task(late)
        assert (row.state, row.code) == (S.DECLINED, "time.expired")


async def test_a_handler_that_says_nothing_ends_at_our_deadline_and_frees_its_slot(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside, policy=Policy(response_margin=10.0)) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source, lasts=100)
        await outside.clock.advance(89)
        assert await daemon.state(task) is S.EXECUTING
        await outside.clock.advance(2)
        row = await daemon.task(task)
        assert (row.state, row.code) == (S.FAILED, "execute.no_result")
        assert daemon.leases == [f"source:{source}"]
        assert await daemon.results.accept(source, task, b"1") is ResultOutcome.LATE


async def test_a_container_that_refuses_the_call_fails_the_task(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        error = DispatchError("HTTP 422", code="dispatch.rejected", retry=Retry.NEVER)
        outside.runtime.scripts[source].fails["dispatch"] = [error]
        task = await daemon.publish(source)
        row = await daemon.task(task)
        assert (row.state, row.code) == (S.FAILED, "dispatch.rejected")


async def test_a_busy_container_is_called_again(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        busy = DispatchError("HTTP 503", code="dispatch.busy", retry=Retry.LATER)
        outside.runtime.scripts[source].fails["dispatch"] = [busy, busy]
        task = await daemon.publish(source)
        assert await daemon.state(task) is S.EXECUTING
        await outside.clock.advance(10)
        assert await daemon.state(task) is S.SUBMITTED
        assert len(outside.runtime.dispatched) == 1


async def test_a_container_that_answers_500_is_called_again_and_its_words_are_no_result(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        words = '{"error": "out of luck"}'
        failed = DispatchError(f"HTTP 500: {words}", code="dispatch.failed", retry=Retry.LATER)
        outside.runtime.scripts[source].fails["dispatch"] = [failed]
        task = await daemon.publish(source)
        assert await daemon.state(task) is S.EXECUTING
        await outside.clock.advance(10)
        assert await daemon.state(task) is S.SUBMITTED
        body = await outside.journal.result(task)
        assert body is not None
        assert words.encode() not in body


async def test_a_container_that_died_is_called_once_more_and_then_given_up(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        dead = EngineError("ended with exit code 137: out of memory", code="engine.oom", retry=Retry.LATER)
        for _ in range(2):
            outside.runtime.scripts[source].fails["health"] = [dead]
            daemon.conductor.nudge_source(source)
            await settle()
        row = await daemon.task(task)
        assert (row.state, row.code, row.dispatches) == (S.FAILED, "engine.oom", 2)


async def test_a_pinning_service_that_is_down_is_tried_until_expiry(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        down = PinError("HTTP 503", code="pin.unavailable", retry=Retry.LATER)
        outside.content.pin_errors = [down] * 5
        task = await daemon.publish(source)
        assert await daemon.state(task) is S.PRODUCED
        await outside.clock.advance(60)
        assert await daemon.state(task) is S.SUBMITTED
        outside.content.pin_errors = [down] * 1000
        late = await daemon.publish(source, lasts=60)
        await outside.clock.advance(61)
        row = await daemon.task(late)
        assert (row.state, row.code) == (S.FAILED, "pin.unavailable")


async def test_a_link_for_other_content_is_never_submitted(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        outside.content.pin_errors = [PinError("other content", code="pin.mismatch", retry=Retry.NEVER)]
        task = await daemon.publish(source)
        assert (await daemon.task(task)).code == "pin.mismatch"
        assert await daemon.mine() == [Effect.ATTEMPT]


async def test_results_are_taken_once_from_the_right_source_for_a_dispatched_task(outside: Outside) -> None:
    source, foreign = outside.source(answers=False), outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        accept = daemon.results.accept
        assert await accept(foreign, task, b"{}") is ResultOutcome.UNKNOWN
        assert await accept(source, source, b"{}") is ResultOutcome.UNKNOWN
        assert await accept(source, task, b"{}") is ResultOutcome.STORED
        assert await accept(source, task, b"{}") is ResultOutcome.SAME
        assert await accept(source, task, b"[]") is ResultOutcome.CONFLICT
        await settle()
        assert await accept(source, task, b"{}") is ResultOutcome.SAME
        assert await accept(source, task, b"[]") is ResultOutcome.CONFLICT
        assert await outside.journal.result(task) == b"{}"


async def test_a_result_that_cannot_be_submitted_fails_the_task(outside: Outside) -> None:
    source, foreign = outside.source(answers=False), outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.results.refuse(foreign, task, Reason("result.too_large", "big"))
        assert await daemon.state(task) is S.EXECUTING
        await daemon.results.refuse(source, task, Reason("result.too_large", "larger than 1 MiB"))
        assert (await daemon.task(task)).code == "result.too_large"


async def test_an_agents_attempt_makes_a_declined_task_an_obligation(outside: Outside) -> None:
    source = outside.source()
    async with running(outside, admission=AdmissionPolicy(min_payment=2 * COIN)) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        assert await daemon.state(task) is S.DECLINED
        await daemon.block(*outside.chain.attempt(task, US))
        assert await daemon.state(task) is S.SUBMITTED
        assert await daemon.mine() == [Effect.SUBMIT_RESPONSE], "the attempt is made already"
        await daemon.block()
        await daemon.confirm()
        assert await daemon.state(task) is S.SETTLED


async def test_an_agents_attempt_of_a_task_never_seen_is_work_too(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        unseen = outside.chain.publish_task(source, config_url=CONFIG)
        await daemon.block(*outside.chain.attempt(unseen.task, US))
        assert await daemon.state(unseen.task) is S.SUBMITTED


async def test_a_task_found_expired_by_our_attempt_ends_expired(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source, lasts=100)
        await outside.clock.advance(1)
        await daemon.sign()
        outside.clock._now += 200
        await daemon.block(*outside.chain.attempt(task))
        assert await daemon.state(task) is S.EXPIRED


async def test_a_refused_attempt_ends_the_task_by_what_the_chain_says(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.sign()
        key = outside.chain.intent_attempt(task, 1, 0.0).key
        row = await outside.journal.set_state(key, IntentState.REVERTED, at=0.0)
        await daemon.reckoning.on_intent(row)
        assert (await daemon.task(task)).code == "attempt.reverted"
        assert daemon.leases == [f"source:{source}"]


async def test_facts_may_come_twice(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        published = outside.chain.publish_task(source, config_url=CONFIG)
        await daemon.block(published)
        await daemon.block(published, published)
        await daemon.mine()
        await daemon.block(published)
        await daemon.confirm()
        assert await daemon.state(published.task) is S.SETTLED
        assert len(outside.runtime.dispatched) == 1


async def test_tasks_of_sources_that_we_do_not_serve_leave_no_row(outside: Outside) -> None:
    async with running(outside) as daemon:
        stranger = outside.chain.publish_source().source
        fact = outside.chain.publish_task(stranger)
        await daemon.block(fact)
        assert await outside.journal.task(fact.task) is None


async def test_a_removed_provider_takes_no_more_tasks(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        origin = outside.chain.publish_task(source).origin
        await daemon.block(ProviderRemoved(origin, US))
        task = await daemon.publish(source)
        assert (await daemon.task(task)).code == "source.not_ready"


async def test_a_task_waits_for_a_source_of_which_nothing_could_be_read_yet(outside: Outside) -> None:
    """The first start after `register`, while no endpoint answers."""
    source = outside.source()
    outside.chain.failures = [RpcUnavailable("no endpoint answers") for _ in range(3)]
    async with running(outside, sources=SourcePolicy(listed=frozenset({source}))) as daemon:
        row = daemon.ports.book.get(source)
        assert row is not None
        assert row.params is None
        task = await daemon.publish(source)
        assert await daemon.state(task) is S.SEEN
        await outside.clock.advance(61)
        assert await daemon.state(task) is S.SUBMITTED


async def test_a_task_waits_for_a_source_that_is_being_prepared(outside: Outside) -> None:
    source = outside.source()
    slow = EngineError("pulling", code="engine.pull_failed", retry=Retry.LATER)
    async with running(outside) as daemon:
        await serving(daemon, source)
        row = daemon.ports.book.get(source)
        assert row is not None
        outside.runtime.scripts[source].fails["health"] = [slow]
        task = await daemon.publish(source)
        assert await daemon.state(task) is S.ADMITTED
        await outside.clock.advance(5)
        assert await daemon.state(task) is S.SUBMITTED
        assert row.state is SourceState.READY


async def test_a_defect_in_a_stage_ends_its_task_and_nothing_else(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        outside.runtime.scripts[source].fails["dispatch"] = [ZeroDivisionError()]  # type: ignore[list-item]
        broken = await daemon.publish(source)
        assert (await daemon.task(broken)).code == "internal"
        sound = await daemon.publish(source)
        assert await daemon.state(sound) is S.SUBMITTED


async def test_an_end_without_a_winner_is_a_node_that_lags_not_a_loss(outside: Outside) -> None:
    source = outside.source(DeliveryMethod.MANUAL_CONFIRMATION)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.mine()
        confirmed = outside.chain.confirm(task)
        one = outside.chain._tasks[task]
        whole, one.view = one.view, replace(one.view, winner=None)
        await daemon.block(confirmed)
        await daemon.reckoning.recover(task)
        await daemon.block()
        assert await daemon.state(task) is S.RESPONDED
        one.view = whole
        await outside.clock.advance(5)
        assert await daemon.state(task) is S.SETTLED


async def test_logs_are_kept_from_before_the_container_was_called(outside: Outside) -> None:
    """A handler that fails at once prints before its acceptance is written down."""
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        called = outside.clock.now()
        task = await daemon.publish(source, lasts=100)
        await outside.clock.advance(100)
        assert await daemon.state(task) is S.FAILED
        assert outside.runtime.logs == [(source, task, called)]
