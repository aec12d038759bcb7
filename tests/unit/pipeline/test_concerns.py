"""What is dropped where it is read must be exactly what the intake and the sender would do nothing about."""

from collections.abc import Sequence
from typing import get_args

import pytest

from ogpu_provider.domain import facts
from ogpu_provider.domain.facts import Fact, Origin, TaskStatus
from ogpu_provider.domain.source import Environment, ServedSource, SourceState, SourceStatus
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.pipeline.book import SourceBook
from ogpu_provider.pipeline.concerns import Concerns
from tests.fakes.chain import OTHER, US

OURS, DROPPED, THEIRS = (Address(f"0x{number:040x}") for number in (1, 2, 3))
TASK, STRANGE = Address("0x" + "77" * 20), Address("0x" + "88" * 20)
RESPONSE = Address("0x" + "99" * 20)
SENT = Hash("0x" + "ab" * 32)


def at(tx: str = "0x01") -> Origin:
    return Origin(7, Hash("0x07"), Hash(tx), 0)


O = at()  # noqa: E741
CASES: dict[type[Fact], tuple[Sequence[Fact], Sequence[Fact]]] = {
    facts.TaskPublished: (
        [facts.TaskPublished(O, STRANGE, OURS)],
        [facts.TaskPublished(O, STRANGE, THEIRS), facts.TaskPublished(O, STRANGE, DROPPED)],
    ),
    facts.Attempted: ([facts.Attempted(O, STRANGE, US, 1)], [facts.Attempted(O, TASK, OTHER, 1)]),
    facts.ResponseSubmitted: (
        [facts.ResponseSubmitted(O, RESPONSE, TASK), facts.ResponseSubmitted(at(SENT), RESPONSE, STRANGE)],
        [facts.ResponseSubmitted(O, RESPONSE, STRANGE)],
    ),
    facts.TaskStatusChanged: (
        [facts.TaskStatusChanged(O, TASK, TaskStatus.CANCELED)],
        [facts.TaskStatusChanged(O, STRANGE, TaskStatus.CANCELED)],
    ),
    facts.Registered: (
        [facts.Registered(O, US, THEIRS, Environment.CPU)],
        [facts.Registered(O, OTHER, OURS, Environment.CPU)],
    ),
    facts.SourcePublished: ([facts.SourcePublished(O, THEIRS)], []),
    facts.SourceUpdated: (
        [facts.SourceUpdated(O, OURS), facts.SourceUpdated(O, DROPPED)],
        [facts.SourceUpdated(O, THEIRS)],
    ),
    facts.SourceStatusChanged: (
        [facts.SourceStatusChanged(O, OURS, SourceStatus.INACTIVE)],
        [facts.SourceStatusChanged(O, THEIRS, SourceStatus.INACTIVE)],
    ),
    facts.RemoveContainer: ([facts.RemoveContainer(O, US, THEIRS)], [facts.RemoveContainer(O, OTHER, OURS)]),
    facts.ProviderRemoved: ([facts.ProviderRemoved(O, US)], [facts.ProviderRemoved(O, OTHER)]),
}
"""For each kind of fact: those that concern us, and those that do not."""


def test_others_attempts_at_what_we_follow_are_overheard_and_concern_nobody() -> None:
    heard: list[Fact] = []
    concerns = Concerns(US, SourceBook(), lambda task: task == TASK, lambda _: False, rival=heard.append)
    theirs = facts.Attempted(O, TASK, OTHER, 5)
    assert concerns.of([theirs, facts.Attempted(O, STRANGE, OTHER, 5), facts.Attempted(O, TASK, US, 5)]) == [
        facts.Attempted(O, TASK, US, 5)
    ]
    assert heard == [theirs]


@pytest.fixture
def concerns() -> Concerns:
    book = SourceBook()
    book.put(ServedSource(OURS, SourceState.WANTED))
    book.put(ServedSource(DROPPED, SourceState.DROPPED))
    return Concerns(US, book, lambda task: task == TASK, lambda tx: tx == SENT)


def test_every_kind_of_fact_has_its_cases() -> None:
    assert set(CASES) == set(get_args(Fact))


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_what_concerns_us_is_kept_and_all_else_is_dropped(concerns: Concerns, kind: type[Fact]) -> None:
    kept, dropped = CASES[kind]
    assert concerns.of([*dropped, *kept]) == list(kept)


def test_what_follows_on_a_task_that_is_named_before_it_is_kept(concerns: Concerns) -> None:
    ended = facts.TaskStatusChanged(O, STRANGE, TaskStatus.CANCELED)
    for named in (facts.TaskPublished(O, STRANGE, OURS), facts.Attempted(O, STRANGE, US, 1)):
        assert concerns.of([named, ended]) == [named, ended]
    assert concerns.of([facts.TaskPublished(O, STRANGE, THEIRS), ended]) == []
