"""Which sources are served, and what keeps one from being served."""

import hashlib
import json

import pytest

from ogpu_provider.domain.approval import OnChange
from ogpu_provider.domain.errors import EngineError, FetchError, Retry, RpcUnavailable
from ogpu_provider.domain.intent import Effect, IntentState
from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.source import Environment, SourceState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.approvals import NotApproved
from ogpu_provider.pipeline.wishes import SourcePolicy
from tests.fakes.clock import settle
from tests.fakes.runtime import REFUSED, WAIVABLE, Script
from tests.unit.pipeline.stage import COMPOSE, METADATA, Daemon, Outside, running, serving


@pytest.fixture
def outside() -> Outside:
    return Outside()


def unregistered(outside: Outside) -> Address:
    source = outside.source()
    outside.chain.unregister(source)
    return source


async def state(daemon: Daemon, source: Address) -> tuple[SourceState, str]:
    await settle()
    row = daemon.ports.book.get(source)
    assert row is not None
    assert await daemon.outside.journal.sources(), "what the book says is in the journal"
    return row.state, row.code


async def test_a_source_is_registered_only_after_its_project_answers(outside: Outside) -> None:
    source = unregistered(outside)
    async with running(outside) as daemon:
        await settle()
        assert outside.runtime.started == [source]
        assert (await state(daemon, source))[0] is SourceState.WANTED
        assert await daemon.mine() == [Effect.REGISTER]
        await outside.clock.advance(1)
        await serving(daemon, source)
    async with running(outside) as again:
        await serving(again, source)
        assert await again.mine() == [], "registered once"


async def test_a_refused_registration_is_planned_anew(outside: Outside) -> None:
    source = unregistered(outside)
    async with running(outside) as daemon:
        await settle()
        [(effect, _, _)] = await daemon.sign()
        assert effect is Effect.REGISTER
        [row] = await outside.journal.open_intents()
        await outside.journal.set_state(row.intent.key, IntentState.REVERTED, at=0.0)
        await outside.clock.advance(1)
        assert await state(daemon, source) == (SourceState.UNFIT, "register.reverted")
        await outside.clock.advance(20)
        assert await daemon.mine() == [Effect.REGISTER]
        await outside.clock.advance(1)
        await serving(daemon, source)


@pytest.mark.parametrize(
    ("url", "body", "code"),
    [
        (METADATA, b"<html>", "metadata.not_json"),
        (METADATA, b"[]", "metadata.not_json"),
        (METADATA, json.dumps({"name": "x", "nvidia": COMPOSE}).encode(), "metadata.no_compose"),
        (METADATA, b" " * 300_000, "fetch.too_large"),
        (COMPOSE, b" " * 300_000, "fetch.too_large"),
        (COMPOSE, REFUSED, "compose.privileged"),
    ],
)
async def test_documents_that_cannot_be_used_make_a_source_unfit(
    outside: Outside, url: str, body: bytes, code: str
) -> None:
    source = unregistered(outside)
    outside.content.documents[url] = body
    async with running(outside) as daemon:
        assert await state(daemon, source) == (SourceState.UNFIT, code)
        assert await daemon.mine() == [], "nothing is promised"


async def test_documents_that_do_not_answer_are_asked_for_again(outside: Outside) -> None:
    source = outside.source()
    outside.content.get_errors[COMPOSE] = [FetchError("no answer", code="fetch.timeout", retry=Retry.LATER)] * 2
    async with running(outside) as daemon:
        assert await state(daemon, source) == (SourceState.UNFIT, "fetch.timeout")
        await outside.clock.advance(60)
        await serving(daemon, source)


@pytest.mark.parametrize("code", ["engine.image_missing", "engine.never_ready", "engine.exited", "engine.oom"])
async def test_a_project_that_does_not_come_up_says_why_and_is_tried_again(outside: Outside, code: str) -> None:
    source = outside.source()
    outside.runtime.scripts[source].fails["up"] = [EngineError("it did not", code=code, retry=Retry.LATER)]
    async with running(outside) as daemon:
        assert await state(daemon, source) == (SourceState.UNFIT, code)
        task = await daemon.publish(source)
        row = await daemon.task(task)
        assert (row.state, row.code) == (TaskState.DECLINED, "source.not_ready")
        await outside.clock.advance(20)
        await serving(daemon, source)


async def test_an_environment_that_the_host_lacks_is_not_served(outside: Outside) -> None:
    source = outside.chain.publish_source(environments=frozenset({Environment.AMD}), metadata_url=METADATA).source
    async with running(outside) as daemon:
        assert await state(daemon, source) == (SourceState.UNFIT, "environment.none")


async def test_devices_are_granted_to_one_source_at_a_time(outside: Outside) -> None:
    outside.content.documents[METADATA] = json.dumps({"nvidia": COMPOSE, "name": "gpu"}).encode()
    both = [
        outside.chain.publish_source(environments=frozenset({Environment.NVIDIA}), metadata_url=METADATA).source
        for _ in range(2)
    ]
    for source in both:
        outside.runtime.scripts[source] = Script({"f": (lambda data: data, ())}, devices=1)
        outside.chain.register(source, environment=Environment.NVIDIA)
    card = Device("GPU-1", Environment.NVIDIA, "card", 24 << 30)
    async with running(outside, host=Host(2, (card,))) as daemon:
        await settle()
        states = sorted([await state(daemon, source) for source in both])
        assert states == [(SourceState.READY, ""), (SourceState.UNFIT, "capacity.devices")]
        [spec] = outside.runtime.running.values()
        assert spec.devices == (card,)


async def test_an_inactive_source_goes_down_after_its_last_task(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.block(outside.chain.inactivate_source(source))
        assert outside.runtime.stopped == []
        await daemon.results.accept(source, task, b"{}")
        await settle()
        daemon.keeper.changed(source)
        await daemon.mine()
        await daemon.block()
        await daemon.confirm()
        daemon.keeper.changed(source)
        assert await state(daemon, source) == (SourceState.DROPPED, "source.inactive")
        assert outside.runtime.stopped == [source]
        assert daemon.leases == []


async def test_the_masters_removal_takes_the_containers_down(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        await daemon.block(outside.chain.remove_container(source))
        assert await state(daemon, source) == (SourceState.DROPPED, "source.removed")
        assert outside.runtime.stopped == [source]


CHANGED = b"services: {changed: true}"
RULE = "compose.shm_size"


async def publish_changed(daemon: Daemon, source: Address, compose: bytes = CHANGED) -> None:
    daemon.outside.content.documents[COMPOSE] = compose
    await daemon.block(daemon.outside.chain.update_source(source, METADATA))


async def approve(daemon: Daemon, source: Address, *, waive: tuple[str, ...] = (), sha256: str = "") -> None:
    reason = "why" if waive else ""
    await daemon.keeper.approve(source, waivable={RULE}, waive=waive, reason=reason, sha256=sha256)


async def test_a_changed_compose_file_is_not_run_until_it_is_approved(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        before = outside.runtime.running[source].compose
        await publish_changed(daemon, source)
        assert await state(daemon, source) == (SourceState.UNFIT, "compose.changed")
        assert outside.runtime.running[source].compose == before
    async with running(outside) as again:
        assert await state(again, source) == (SourceState.UNFIT, "compose.changed"), "a restart approves nothing"
        with pytest.raises(NotApproved) as caught:
            await approve(again, source, sha256=hashlib.sha256(before).hexdigest())
        assert caught.value.code == "approve.other_file"
        await approve(again, source, sha256=hashlib.sha256(CHANGED).hexdigest())
        assert outside.runtime.approvals == [source]
        await serving(again, source)
        assert outside.runtime.running[source].compose == CHANGED


@pytest.mark.parametrize(
    ("on_change", "compose", "approved"),
    [
        (OnChange.SAME_IMAGES, b"image: a\nports: []", True),
        (OnChange.SAME_IMAGES, b"image: b", False),
        (OnChange.ASK, b"image: a\nports: []", False),
        (OnChange.NEVER, b"image: a\nports: []", False),
    ],
)
async def test_the_policy_says_which_changes_need_no_word(
    outside: Outside, on_change: OnChange, compose: bytes, approved: bool
) -> None:
    source = outside.source()
    outside.content.documents[COMPOSE] = b"image: a"
    async with running(outside, sources=SourcePolicy(serve_all=True, compose_change=on_change)) as daemon:
        await serving(daemon, source)
        await publish_changed(daemon, source, compose)
        expected = (SourceState.READY, "") if approved else (SourceState.UNFIT, "compose.changed")
        assert await state(daemon, source) == expected
        if on_change is OnChange.NEVER:
            with pytest.raises(NotApproved, match="never"):
                await approve(daemon, source)


async def test_a_waiver_holds_for_one_file_and_is_asked_for_again(outside: Outside) -> None:
    source = outside.source()
    outside.content.documents[COMPOSE] = WAIVABLE
    policy = SourcePolicy(serve_all=True, compose_change=OnChange.SAME_IMAGES)
    async with running(outside, sources=policy) as daemon:
        assert await state(daemon, source) == (SourceState.UNFIT, RULE)
        assert await outside.journal.approval(source) is None, "the gate approves nothing that it refuses"
        with pytest.raises(NotApproved) as caught:
            await approve(daemon, source, waive=("compose.secret",))
        assert caught.value.code == "approve.not_waivable"
        with pytest.raises(NotApproved) as caught:
            await daemon.keeper.approve(source, waivable={RULE}, waive=(RULE,), reason=" ", sha256="")
        assert caught.value.code == "approve.no_reason"
        await approve(daemon, source, waive=(RULE,))
        await serving(daemon, source)
        assert outside.runtime.running[source].waived == {RULE}
        await publish_changed(daemon, source, WAIVABLE + b" still")
        assert await state(daemon, source) == (SourceState.UNFIT, "compose.changed")


async def test_a_source_that_nobody_saw_cannot_be_approved(outside: Outside) -> None:
    async with running(outside) as daemon:
        with pytest.raises(NotApproved) as caught:
            await approve(daemon, Address("0x" + "77" * 20))
        assert caught.value.code == "approve.unknown_source"


async def test_a_source_published_later_is_served_too(outside: Outside) -> None:
    async with running(outside) as daemon:
        fact = outside.chain.publish_source(metadata_url=METADATA)
        outside.runtime.scripts[fact.source] = Script({"double": (lambda data: data, ())})
        outside.chain.register(fact.source)
        await daemon.block(fact)
        await serving(daemon, fact.source)


async def test_tasks_published_before_the_source_was_ready_are_found(outside: Outside) -> None:
    source = outside.source()
    outside.chain.publish_task(source, lasts=600)
    async with running(outside) as daemon:
        await daemon.block()
        await serving(daemon, source)
        daemon.keeper.changed(source)
        await settle()
        [task] = await outside.journal.live()
        assert task.source == source


async def test_running_containers_are_adopted_and_their_documents_not_needed(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
    outside.runtime.started.clear()
    async with running(outside) as daemon:
        await serving(daemon, source)
        assert outside.runtime.started == [], "left running"


async def test_a_chain_that_does_not_answer_at_the_start_is_asked_again(outside: Outside) -> None:
    source = outside.source()
    outside.chain.failures = [RpcUnavailable("no answer")] * 3
    async with running(outside) as daemon:
        await outside.clock.advance(120)
        await serving(daemon, source)
